//! What a forger may try with a sound export, one test each.

use super::*;

/// The trail of case "p" in three logs, of which messaging's has none of its entries.
fn suite() -> Vec<Line> {
    let makers = makers();
    let keys: Vec<VerifierKey> = makers.iter().map(Maker::key).collect();
    let mut lines = vec![header(Some("p"))];
    lines.extend(makers[0].case(&mixed(20), &keys));
    lines.extend(makers[1].case(&mixed(7), &keys));
    lines.extend(makers[2].case(&[row(1, "q")], &keys));
    end(lines)
}

fn makers() -> [Maker; 3] {
    [
        payments(),
        Maker::new("consent", 4),
        Maker::new("messaging", 5),
    ]
}

/// The log that a line belongs to.
fn origin_of(line: &Line) -> Option<&str> {
    match line {
        Line::Header { .. } | Line::End { .. } => None,
        Line::Log(log) => Some(&log.origin),
        Line::Entry(entry) => Some(&entry.origin),
        Line::Checkpoint { origin, .. }
        | Line::Consistency { origin, .. }
        | Line::Statement { origin, .. }
        | Line::Leaf { origin, .. } => Some(origin),
    }
}

fn pinned(lines: &[Line], pins: &[VerifierKey]) -> Report {
    let mut verifier = Verifier::new();
    for key in pins {
        verifier.pin(Pin::of(key.clone())).unwrap();
    }
    verifier.read("export", text(lines).as_bytes()).unwrap();
    verifier.finish()
}

fn compared(lines: &[Line], note: &str) -> Report {
    let mut verifier = Verifier::new();
    verifier.compare(note).unwrap();
    verifier.read("export", text(lines).as_bytes()).unwrap();
    verifier.finish()
}

fn strip_bodies(lines: &mut [Line], mut which: impl FnMut(u64) -> bool) {
    for line in lines {
        if let Line::Entry(entry) = line
            && which(entry.position)
        {
            let mut row = EntryRow::from(entry.entry.clone());
            row.body = None;
            entry.entry = row.into();
        }
    }
}

#[test]
fn a_sound_export_says_whose_keys_it_was_verified_with() {
    let report = verify(&suite());
    assert!(report.is_valid() && !report.is_pinned(), "{report}");
    assert_eq!(report.entries(), 14);
    let said = report.to_string();
    let verdict = "valid, but the keys come from the file itself\n";
    assert!(said.ends_with(verdict), "{said}");
    for maker in makers() {
        let line = format!("key from the file itself: {}", maker.key());
        assert!(said.contains(&line), "{said}");
    }

    let keys = makers().map(|maker| maker.key());
    let report = pinned(&suite(), &keys);
    assert!(report.is_valid() && report.is_pinned(), "{report}");
    assert!(
        report
            .to_string()
            .ends_with("valid, by keys that were given\n")
    );
}

#[test]
fn a_header_without_its_case_hides_no_dropped_entry() {
    let mut lines = drop_entry(case(20), 6);
    lines[0] = header(None);
    let report = verify(&lines);
    assert!(report.has(Kind::Dropped), "{report}");
    // Nor may it make a trail look like one of nothing in particular.
    let mut lines = case(20);
    lines[0] = header(None);
    assert_eq!(kinds(&verify(&lines)), [Kind::Malformed]);
}

#[test]
fn a_log_whose_lines_are_all_gone_is_missed() {
    for maker in makers() {
        let origin = maker.origin();
        let kept = suite()
            .into_iter()
            .filter(|line| origin_of(line) != Some(&origin))
            .collect();
        let report = verify(&end(kept));
        assert_eq!(kinds(&report), [Kind::Dropped; 2], "{report}");
        assert!(report.findings[0].message.contains(&origin), "{report}");
    }
    // One that was exported alone is missed by whoever holds its key.
    let report = pinned(&end(vec![header(Some("p"))]), &[payments().key()]);
    assert_eq!(kinds(&report), [Kind::Dropped], "{report}");
    assert!(!verify(&end(vec![header(Some("p"))])).is_valid());
}

#[test]
fn a_log_signed_anew_with_another_key_is_told() {
    let forger = Maker::new("payments", 99);
    // In a suite, the others signed what its key was.
    let [_, consent, messaging] = makers();
    let keys = [forger.key(), consent.key(), messaging.key()];
    let mut lines = vec![header(Some("p"))];
    lines.extend(forger.case(&mixed(18), &keys));
    let rest = suite()
        .into_iter()
        .filter(|line| origin_of(line).is_some_and(|origin| origin != forger.origin()));
    lines.extend(rest);
    let report = verify(&end(lines));
    assert_eq!(kinds(&report), [Kind::Untrusted; 2], "{report}");

    // Alone, only what an auditor kept tells; without it, the verdict says so.
    let mut lines = vec![header(Some("p"))];
    lines.extend(forger.case(&mixed(18), &[forger.key()]));
    let lines = end(lines);
    let verdict = "valid, but the keys come from the file itself";
    assert_eq!(verify(&lines).verdict(), verdict);
    let report = pinned(&lines, &[payments().key()]);
    assert_eq!(kinds(&report), [Kind::Untrusted], "{report}");
    let leaves: Vec<Hash> = mixed(4).iter().map(EntryRow::leaf_hash).collect();
    let report = compared(&lines, &payments().checkpoint_note(&leaves));
    assert_eq!(kinds(&report), [Kind::Untrusted], "{report}");
    assert!(pinned(&lines, &[forger.key()]).is_pinned());
}

#[test]
fn bodies_that_the_log_still_had_are_missed() {
    for mut lines in [complete(20), case(20)] {
        strip_bodies(&mut lines, |_| true);
        let report = verify(&lines);
        assert_eq!(kinds(&report), [Kind::Dropped], "{report}");
        assert!(report.missing_bodies() >= 10, "{report}");
    }
}

#[test]
fn bodies_that_the_owner_dropped_are_counted() {
    let mut rows = mixed(20);
    rows[4].body = None;
    let maker = payments();
    let mut lines = vec![header(Some("p"))];
    lines.extend(maker.case(&rows, &[maker.key()]));
    let lines = end(lines);
    let report = verify(&lines);
    assert!(report.is_valid(), "{report}");
    assert_eq!(report.missing_bodies(), 1);
    assert!(
        report.to_string().contains("1 bodies are missing"),
        "{report}"
    );
    let mut more = lines;
    strip_bodies(&mut more, |position| position == 6);
    assert_eq!(kinds(&verify(&more)), [Kind::Dropped]);
}

#[test]
fn a_log_under_another_name_is_told() {
    let changes: [fn(&mut LogLine); 3] = [
        |log| log.block = "consent".into(),
        |log| log.tenant = "other".into(),
        |log| log.epoch = 2,
    ];
    for change in changes {
        for mut lines in [complete(4), case(4)] {
            let Line::Log(log) = &mut lines[1] else {
                panic!("not a log")
            };
            change(log);
            assert_eq!(kinds(&verify(&lines)), [Kind::Mislabelled]);
        }
    }
}

#[test]
fn a_trail_passed_off_as_carried_or_complete_is_told() {
    let mut lines = drop_entry(case(20), 6);
    lines.retain(|line| !matches!(line, Line::Statement { .. }));
    if let Line::Log(log) = &mut lines[1] {
        log.carried_by = Some(ORIGIN.replace("/1-", "/2-"));
    }
    let report = verify(&end(lines));
    assert!(report.has(Kind::Malformed), "{report}");

    let mut lines = case(20);
    if let Line::Log(log) = &mut lines[1] {
        log.complete = true;
    }
    assert!(!verify(&lines).is_valid());
}

#[test]
fn an_added_log_is_told() {
    let registration = Maker::new("registration", 6);
    let mut lines = suite();
    lines.extend(registration.case(&mixed(4), &[registration.key()]));
    let report = verify(&end(lines));
    assert!(
        !report.is_valid() && report.has(Kind::Malformed),
        "{report}"
    );
}

#[test]
fn keys_that_were_given_are_demanded() {
    let keys = makers().map(|maker| maker.key());
    assert_eq!(kinds(&pinned(&suite(), &keys[..2])), [Kind::Untrusted]);
    let absent = Maker::new("identity", 8).key();
    let mut more = keys.to_vec();
    more.push(absent);
    assert_eq!(kinds(&pinned(&suite(), &more)), [Kind::Dropped]);
    let mut verifier = Verifier::new();
    verifier.pin(Pin::of(keys[0].clone())).unwrap();
    let other = Pin::of(Maker::new("payments", 99).key());
    assert!(verifier.pin(other).is_err());
}

#[test]
fn checkpoints_that_were_given_are_compared() {
    let leaves = |count| -> Vec<Hash> { (0..count).map(|n| row(n, "p").leaf_hash()).collect() };
    let note = |count| payments().checkpoint_note(&leaves(count));
    let report = compared(&complete(20), &note(7));
    assert!(report.is_valid() && report.is_pinned(), "{report}");
    assert_eq!(report.checkpoints(), 3);
    assert_eq!(kinds(&compared(&complete(20), &note(21))), [Kind::Dropped]);

    // A trail leads to its own checkpoint alone: the key is vouched for, and the rest is said.
    let mixed_leaves =
        |count| -> Vec<Hash> { mixed(count).iter().map(EntryRow::leaf_hash).collect() };
    let note = |count| payments().checkpoint_note(&mixed_leaves(count));
    let report = compared(&case(20), &note(7));
    assert!(report.is_valid() && report.is_pinned(), "{report}");
    assert!(
        report.to_string().contains("vouches for the key alone"),
        "{report}"
    );
    assert!(compared(&case(20), &note(20)).notes.is_empty());
    assert_eq!(kinds(&compared(&case(20), &note(22))), [Kind::Dropped]);

    let strange = Maker::new("identity", 8).checkpoint_note(&leaves(3));
    assert_eq!(kinds(&compared(&case(20), &strange)), [Kind::Dropped]);
}

#[test]
fn two_files_are_compared() {
    let both = |first: &[Line], second: &[Line]| {
        let mut verifier = Verifier::new();
        verifier.read("first", text(first).as_bytes()).unwrap();
        verifier.read("second", text(second).as_bytes()).unwrap();
        verifier.finish()
    };
    let report = both(&complete(20), &complete(30));
    assert!(report.is_valid(), "{report}");
    // The same size of the same log over other rows.
    let maker = payments();
    let mut fork = vec![header(Some("p"))];
    let rows: Vec<EntryRow> = (50..70).map(|n| row(n, "p")).collect();
    fork.extend(maker.case(&rows, &[maker.key()]));
    let report = both(&complete(20), &end(fork));
    assert_eq!(kinds(&report), [Kind::Rewritten], "{report}");
}
