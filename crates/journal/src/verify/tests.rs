use proptest::prelude::*;

use super::*;
use crate::entry::tests::row;
use crate::merkle::{Frontier, Span, inclusion_plan, node_hash};
use crate::note::Signer;

#[path = "forged.rs"]
mod forged;

const ORIGIN: &str = "publica.test/payments/default/1-00c0ffee";

/// A log that signs, honest or not.
struct Maker {
    signer: Signer,
    block: &'static str,
}

impl Maker {
    fn new(block: &'static str, seed: u8) -> Self {
        let origin = ORIGIN.replace("payments", block);
        let signer = Signer::from_seed(origin, &[seed; 32]).unwrap();
        Self { signer, block }
    }

    fn origin(&self) -> String {
        self.signer.name().to_owned()
    }

    fn key(&self) -> VerifierKey {
        self.signer.verifier()
    }

    fn log_line(&self, complete: bool) -> Line {
        Line::Log(LogLine {
            origin: self.origin(),
            block: self.block.into(),
            tenant: "default".into(),
            epoch: 1,
            key: self.key().to_string(),
            complete,
            carried_by: None,
        })
    }

    fn checkpoint_note(&self, leaves: &[Hash]) -> String {
        let head = Head {
            origin: self.origin(),
            size: leaves.len() as u64,
            root: root(leaves),
        };
        self.signer.sign(&head.text())
    }

    fn checkpoint(&self, leaves: &[Hash]) -> Line {
        Line::Checkpoint {
            origin: self.origin(),
            note: self.checkpoint_note(leaves),
        }
    }

    fn statement(&self, statement: &Statement) -> Line {
        Line::Statement {
            origin: self.origin(),
            note: self.signer.sign(&statement.text()),
        }
    }

    fn entry(&self, position: u64, row: &EntryRow, size: Option<u64>, proof: Vec<Hash>) -> Line {
        Line::Entry(Box::new(EntryLine {
            origin: self.origin(),
            position,
            tree_size: size,
            leaf: row.leaf_hash(),
            proof,
            entry: row.clone().into(),
        }))
    }

    /// A complete log of `count` entries with two checkpoints.
    fn complete(&self, count: i64, logs: &[VerifierKey]) -> Vec<Line> {
        let rows: Vec<EntryRow> = (0..count).map(|n| row(n, "p")).collect();
        let leaves: Vec<Hash> = rows.iter().map(EntryRow::leaf_hash).collect();
        let mut statement = Statement::new(self.signer.name(), None, leaves.len() as u64);
        statement.logs = logs.to_vec();
        let mut lines = vec![self.log_line(true)];
        lines.push(self.checkpoint(&leaves[..leaves.len() / 2]));
        lines.push(self.checkpoint(&leaves));
        for (position, row) in rows.iter().enumerate() {
            statement.add(&leaves[position], row.body.is_some());
            lines.push(self.entry(position as u64, row, None, Vec::new()));
        }
        lines.push(self.statement(&statement));
        lines
    }

    /// The trail of case "p" in these rows of a log.
    fn case(&self, rows: &[EntryRow], logs: &[VerifierKey]) -> Vec<Line> {
        let leaves: Vec<Hash> = rows.iter().map(EntryRow::leaf_hash).collect();
        let size = leaves.len() as u64;
        let mut lines = vec![self.log_line(false), self.checkpoint(&leaves)];
        let mut statement = Statement::new(self.signer.name(), Some("p"), size);
        statement.logs = logs.to_vec();
        for (position, row) in rows.iter().enumerate() {
            if row.process_id.as_deref() == Some("p") {
                statement.add(&leaves[position], row.body.is_some());
                let proof = proof(&leaves, position as u64, size);
                lines.push(self.entry(position as u64, row, Some(size), proof));
            }
        }
        lines.push(self.statement(&statement));
        lines
    }
}

/// Rows of which every other one is of case "p".
fn mixed(count: i64) -> Vec<EntryRow> {
    (0..count)
        .map(|n| row(n, if n % 2 == 0 { "p" } else { "q" }))
        .collect()
}

fn payments() -> Maker {
    Maker::new("payments", 3)
}

fn signer() -> Signer {
    payments().signer
}

fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf, |_, _| {});
    }
    frontier.root()
}

fn proof(leaves: &[Hash], index: u64, size: u64) -> Vec<Hash> {
    let subtree = |span: &Span| {
        let hashes: Vec<Hash> = span
            .nodes()
            .iter()
            .map(|node| {
                let start = usize::try_from(node.index << node.height).unwrap();
                root(&leaves[start..start + (1 << node.height)])
            })
            .collect();
        Span::fold(&hashes)
    };
    inclusion_plan(index, size).iter().map(subtree).collect()
}

fn header(process_id: Option<&str>) -> Line {
    Line::Header {
        format: FORMAT.into(),
        version: VERSION,
        process_id: process_id.map(Into::into),
        exported: None,
    }
}

/// A complete log of `count` entries with two checkpoints.
fn complete(count: i64) -> Vec<Line> {
    let maker = payments();
    let mut lines = vec![header(None)];
    lines.extend(maker.complete(count, &[maker.key()]));
    end(lines)
}

/// The trail of case "p", every other entry of a log.
fn case(count: i64) -> Vec<Line> {
    let maker = payments();
    let mut lines = vec![header(Some("p"))];
    lines.extend(maker.case(&mixed(count), &[maker.key()]));
    end(lines)
}

fn end(mut lines: Vec<Line>) -> Vec<Line> {
    lines.retain(|line| !matches!(line, Line::End { .. }));
    let count = lines.len() as u64;
    lines.push(Line::End { lines: count });
    lines
}

fn text(lines: &[Line]) -> String {
    lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap() + "\n")
        .collect()
}

fn verify(lines: &[Line]) -> Report {
    trail(text(lines).as_bytes()).unwrap()
}

fn kinds(report: &Report) -> Vec<Kind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

fn change(lines: &mut [Line], position: u64, change: impl FnOnce(&mut EntryLine)) {
    for line in lines {
        if let Line::Entry(entry) = line
            && entry.position == position
        {
            return change(entry);
        }
    }
    panic!("no entry at {position}");
}

fn drop_entry(lines: Vec<Line>, position: u64) -> Vec<Line> {
    let kept = lines
        .into_iter()
        .filter(|line| !matches!(line, Line::Entry(entry) if entry.position == position))
        .collect();
    // Whoever drops a row mends the count as well.
    end(kept)
}

#[test]
fn sound_exports_hold() {
    for report in [verify(&complete(300)), verify(&case(300))] {
        assert!(report.is_valid(), "{report}");
        assert!(report.checkpoints() >= 1);
    }
    assert_eq!(verify(&complete(300)).entries(), 300);
    assert_eq!(verify(&complete(300)).checkpoints(), 2);
    assert_eq!(verify(&case(300)).entries(), 150);
}

#[test]
fn a_changed_row_is_told() {
    for mut lines in [complete(20), case(20)] {
        change(&mut lines, 6, |entry| {
            let mut row = EntryRow::from(entry.entry.clone());
            row.actor = "person:8".into();
            entry.entry = row.into();
        });
        let report = verify(&lines);
        assert_eq!(kinds(&report), [Kind::Tampered], "{report}");
        assert!(
            report.to_string().contains("at position 6 was changed"),
            "{report}"
        );
    }
}

#[test]
fn a_changed_body_is_told() {
    let mut lines = complete(20);
    change(&mut lines, 6, |entry| {
        let mut row = EntryRow::from(entry.entry.clone());
        row.body = Some(b"{\"n\":7}".to_vec());
        entry.entry = row.into();
    });
    assert_eq!(kinds(&verify(&lines)), [Kind::Tampered]);
}

#[test]
fn a_row_changed_with_its_leaf_is_told() {
    for mut lines in [complete(20), case(20)] {
        change(&mut lines, 6, |entry| {
            let mut row = EntryRow::from(entry.entry.clone());
            row.action = "payments.account.closed".into();
            entry.leaf = row.leaf_hash();
            entry.entry = row.into();
        });
        let report = verify(&lines);
        assert!(!report.is_valid() && !report.has(Kind::Dropped), "{report}");
    }
}

#[test]
fn a_dropped_row_is_told() {
    for (lines, position) in [
        (complete(20), 6),
        (complete(20), 19),
        (case(20), 6),
        (case(20), 18),
    ] {
        let report = verify(&drop_entry(lines, position));
        assert_eq!(kinds(&report), [Kind::Dropped], "{report}");
    }
}

#[test]
fn a_torn_file_is_told() {
    let text = text(&case(20));
    let cut = &text[..text.len() / 2];
    let report = trail(cut.as_bytes()).unwrap();
    assert!(report.has(Kind::Dropped), "{report}");
}

#[test]
fn a_missing_row_with_a_leaf_is_told() {
    let mut lines = complete(20);
    for line in &mut lines {
        if let Line::Entry(entry) = line
            && entry.position == 6
        {
            let row = EntryRow::from(entry.entry.clone());
            *line = Line::Leaf {
                origin: ORIGIN.into(),
                position: 6,
                entry_id: row.entry_id,
                leaf: row.leaf_hash(),
            };
        }
    }
    let report = verify(&lines);
    assert_eq!(kinds(&report), [Kind::Dropped], "{report}");
    assert_eq!(report.entries(), 19);
}

#[test]
fn a_rewritten_checkpoint_is_told() {
    for mut lines in [complete(20), case(20)] {
        for line in &mut lines {
            if let Line::Checkpoint { note, .. } = line {
                *note = note.replacen("20\n", "19\n", 1);
            }
        }
        let report = verify(&lines);
        assert!(report.has(Kind::Rewritten), "{report}");
        assert!(
            !report.has(Kind::Tampered) && !report.has(Kind::Malformed),
            "{report}"
        );
    }
}

#[test]
fn a_forked_log_is_told_even_when_it_is_signed() {
    let mut lines = complete(20);
    let head = Head {
        origin: ORIGIN.into(),
        size: 20,
        root: node_hash(&[1; 32], &[2; 32]),
    };
    let forked = signer().sign(&head.text());
    lines.insert(
        2,
        Line::Checkpoint {
            origin: ORIGIN.into(),
            note: forked.clone(),
        },
    );
    let report = verify(&end(lines));
    assert!(
        report.has(Kind::Rewritten) && !report.has(Kind::Tampered),
        "{report}"
    );

    let mut verifier = Verifier::new();
    verifier.compare(&forked).unwrap();
    verifier
        .read("export", text(&complete(20)).as_bytes())
        .unwrap();
    let report = verifier.finish();
    assert!(report.has(Kind::Rewritten), "{report}");
}

#[test]
fn a_trail_without_its_statement_is_told() {
    let mut lines = case(20);
    lines.retain(|line| !matches!(line, Line::Statement { .. }));
    assert_eq!(kinds(&verify(&end(lines))), [Kind::Dropped]);
}

#[test]
fn other_files_are_refused() {
    for text in [
        "",
        "{}\n",
        "name,amount\n1,2\n",
        "{\"line\":\"end\",\"lines\":0}\n",
    ] {
        assert!(!trail(text.as_bytes()).unwrap().is_valid(), "{text:?}");
    }
    let mut lines = case(4);
    if let Line::Header { version, .. } = &mut lines[0] {
        *version = 9;
    }
    assert!(verify(&lines).has(Kind::Malformed));
}

#[test]
fn no_line_can_name_a_place_beyond_all_numbers() {
    let mut lines = complete(3);
    change(&mut lines, 1, |entry| entry.position = u64::MAX);
    let report = verify(&lines);
    assert!(report.has(Kind::Dropped), "{report}");
    let mut lines = complete(3);
    let origin = payments().origin();
    for _ in 0..3 {
        lines.insert(
            4,
            Line::Leaf {
                origin: origin.clone(),
                position: u64::MAX,
                entry_id: publica_types::Uuid::nil(),
                leaf: [0; 32],
            },
        );
    }
    assert!(!verify(&lines).is_valid());
}

#[test]
fn a_file_has_so_many_logs() {
    let mut lines = vec![header(None)];
    for number in 0..=MAX_FILE_LOGS {
        let origin = format!("{ORIGIN}/x{number}/default/1");
        lines.push(Line::Log(LogLine {
            key: VerifierKey::new(origin.clone(), [7; 32]).to_string(),
            origin,
            block: format!("x{number}"),
            tenant: "default".into(),
            epoch: 1,
            complete: true,
            carried_by: None,
        }));
    }
    let report = verify(&end(lines));
    assert_eq!(report.logs.len(), MAX_FILE_LOGS);
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.message.contains("1000 logs"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Lines left out, repeated, out of their order, or damaged, are read to the end, and without
    /// its last line no export is whole.
    #[test]
    fn any_export_is_verified_or_refused(
        whole in any::<bool>(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            0_u8..4, "[0-9a-f\"{}:,+-]{0,3}"), 1..4),
    ) {
        let lines = if whole { complete(5) } else {
            let mut lines = vec![header(Some("p"))];
            lines.extend(payments().case(&mixed(6), &[payments().key()]));
            end(lines)
        };
        let honest = text(&lines);
        let mut lines: Vec<String> = honest.lines().map(str::to_owned).collect();
        for (from, to, how, put) in moves {
            if lines.is_empty() {
                break;
            }
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            match how {
                0 => drop(lines.remove(from)),
                1 => lines.insert(to, lines[from].clone()),
                2 => lines.swap(from, to),
                _ => {
                    let place = to.min(lines[from].len());
                    if lines[from].is_char_boundary(place) {
                        lines[from].insert_str(place, &put);
                    }
                }
            }
        }
        let changed = lines.join("\n") + "\n";
        let report = trail(changed.as_bytes()).unwrap();
        let is_whole = lines.last().is_some_and(|line| honest.ends_with(&format!("{line}\n")));
        prop_assert!(is_whole || !report.is_valid(), "{}", report);
    }
}
