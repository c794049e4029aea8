//! Lists of instructions on their way to the block: in pages, and under a fingerprint.

use aws_lc_rs::digest::{Context, SHA256};
use publica_proto::payments::v1::{Instruction, UploadInstructionsRequest};

/// Instructions in one message.
const PAGE: usize = 1_000;

/// Pages of instructions; true with the last.
pub(super) fn pages(rows: Vec<Instruction>) -> impl Iterator<Item = (Vec<Instruction>, bool)> {
    let mut rows = rows.into_iter().peekable();
    std::iter::from_fn(move || {
        let page: Vec<Instruction> = rows.by_ref().take(PAGE).collect();
        (!page.is_empty()).then(|| {
            let last = rows.peek().is_none();
            (page, last)
        })
    })
}

/// The messages that upload a whole batch; the first names it.
pub(super) fn uploads(
    batch_id: String,
    rows: Vec<Instruction>,
) -> impl Iterator<Item = UploadInstructionsRequest> {
    let mut named = Some(batch_id);
    pages(rows).map(move |(instructions, complete)| UploadInstructionsRequest {
        batch_id: named.take().unwrap_or_default(),
        first_ordinal: 0,
        instructions,
        complete,
    })
}

/// What tells an equal repeat from a changed one: what stands over the rows, and the rows.
pub(super) fn fingerprint(over: &[&str], rows: &[Instruction]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut put = |text: &str| {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    };
    over.iter().for_each(|text| put(text));
    for row in rows {
        for text in [
            &row.instruction_id,
            &row.functional_id,
            &row.amount,
            &row.currency,
            &row.narration,
        ] {
            put(text);
        }
        if !row.process_id.is_empty() {
            put(&row.process_id);
        }
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<Instruction> {
        let row = |number: usize| Instruction {
            instruction_id: number.to_string(),
            ..Instruction::default()
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn the_last_page_says_so() {
        for (count, expected) in [
            (0, vec![]),
            (1, vec![(1, true)]),
            (PAGE, vec![(PAGE, true)]),
            (PAGE + 1, vec![(PAGE, false), (1, true)]),
        ] {
            let made: Vec<(usize, bool)> = uploads("batch".to_owned(), rows(count))
                .map(|message| (message.instructions.len(), message.complete))
                .collect();
            assert_eq!(made, expected);
            let named = uploads("batch".to_owned(), rows(count)).map(|message| message.batch_id);
            assert!(
                named
                    .enumerate()
                    .all(|(page, id)| (page == 0) == (id == "batch"))
            );
        }
    }

    #[test]
    fn a_fingerprint_covers_all() {
        let plain = fingerprint(&["a"], &rows(2));
        assert_eq!(plain, fingerprint(&["a"], &rows(2)));
        assert_ne!(plain, fingerprint(&["b"], &rows(2)));
        assert_ne!(plain, fingerprint(&["a"], &rows(1)));
        let mut changed = rows(2);
        changed[1].narration = "x".to_owned();
        assert_ne!(plain, fingerprint(&["a"], &changed));
    }
}
