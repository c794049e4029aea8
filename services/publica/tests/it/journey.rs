//! The main job, end to end, in one process on either engine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use publica_testkit::{Database, TestDatabase};

use crate::running::{self, Running};
use crate::town::{Ports, until};

pub(crate) const BLOCKS: [&str; 6] = [
    "identity",
    "signature",
    "payments",
    "messaging",
    "registration",
    "consent",
];

/// Settings that put every block's store into one database.
pub(crate) fn database_settings(database: &TestDatabase) -> Vec<(String, String)> {
    let url = database.config().url.expose().clone();
    BLOCKS
        .iter()
        .map(|block| {
            (
                format!("PUBLICA_{}__DATABASE__URL", block.to_uppercase()),
                url.clone(),
            )
        })
        .collect()
}

fn publica(arguments: &[&str], folder: &Path, settings: &[(String, String)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_publica"))
        .args(arguments)
        .current_dir(folder)
        .envs(settings.iter().cloned())
        .output()
        .unwrap()
}

fn adds_up(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("Everything adds up"), "{said}\n{complained}");
    for line in ["✓ ledger balanced", "✓ proofs valid", "✓ rail reconciled"] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

/// Looks for what the households said in all files of all stores, whatever block they are of.
fn nothing_personal_lies_open(kept: &Path) {
    let households = std::fs::read_to_string(kept.join("households.csv")).unwrap();
    let mut seeds: Vec<&str> = Vec::new();
    for row in households.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        // Names of a few bytes would be met by chance.
        let names = fields[2..4].iter().filter(|name| name.len() >= 8);
        seeds.extend([fields[1], fields[5], fields[9]].iter().chain(names));
    }
    seeds.retain(|seed| seed.len() >= 8);
    assert!(seeds.len() > 600, "{}", seeds.len());
    let mut found = Vec::new();
    let mut stores = 0;
    for block in std::fs::read_dir(kept.join("data")).unwrap() {
        let block = block.unwrap().path();
        if !block.is_dir() || block.ends_with("keys") {
            continue;
        }
        for file in std::fs::read_dir(&block).unwrap() {
            let file = file.unwrap().path();
            let bytes = std::fs::read(&file).unwrap();
            stores += u32::from(bytes.starts_with(b"SQLite format 3"));
            let held = |seed: &&&str| memchr::memmem::find(&bytes, seed.as_bytes()).is_some();
            let held: Vec<_> = seeds.iter().filter(held).take(3).collect();
            if !held.is_empty() {
                found.push(format!("{}: {held:?}", file.display()));
            }
        }
    }
    assert!(stores >= 6, "{stores}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn adds_up_on_embedded_stores_and_the_trail_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["journey", "--sign-in", "20", "--keep", "kept"];
    adds_up(&publica(&arguments, folder.path(), &[]));
    nothing_personal_lies_open(&folder.path().join("kept"));
    let keys = ["verify", "kept/8-trail.jsonl", "--keys", "kept/8-keys.txt"];
    let verified = publica(&keys, folder.path(), &[]);
    assert!(verified.status.success(), "{verified:?}");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(said.ends_with("valid, by keys that were given\n"), "{said}");
    let verified = publica(&["verify", "kept/8-trail.jsonl"], folder.path(), &[]);
    assert!(verified.status.success(), "{verified:?}");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(
        said.ends_with("the keys come from the file itself\n"),
        "{said}"
    );
    // One changed byte of one entry is found.
    let trail = folder.path().join("kept/8-trail.jsonl");
    let text = std::fs::read_to_string(&trail).unwrap();
    std::fs::write(
        &trail,
        text.replacen("registration.file", "registration.fils", 1),
    )
    .unwrap();
    let tampered = publica(&["verify", "kept/8-trail.jsonl"], folder.path(), &[]);
    assert_eq!(tampered.status.code(), Some(1), "{tampered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_up_on_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let settings = database_settings(&Database::postgres().await);
    let migrated = publica(&["migrate"], folder.path(), &settings);
    assert!(migrated.status.success(), "{migrated:?}");
    adds_up(&publica(
        &["journey", "--sign-in", "20"],
        folder.path(),
        &settings,
    ));
}

const HEADER: &str = "household_id,national_id,given_name,family_name,date_of_birth,email,\
                      language,members,monthly_income_minor,account\n";

/// Two people whose numbers differ by a leading zero, who read their mails in one mailbox and
/// have accounts of their own; and one who is refused.
const ODD: &str = "H1,123456,Ada,Okafor,1980-01-01,both@example.org,en,4,0,NBANK-11111111\n\
                   H/2,0123456,Bola,Okafor,1981-01-01,both@Example.ORG,en,2,0,NBANK-22222222\n\
                   H3,777777,Chidi,Eze,1982-01-01,chidi@example.org,en,2,90000000,\n";

/// The value of a line of the closing table.
fn told<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find_map(|line| {
        let mut marks = ["✓ ", "✗ ", "  "].into_iter();
        let line = marks.find_map(|mark| line.strip_prefix(mark))?;
        line.strip_prefix(name)
    });
    let Some(line) = line else {
        panic!("{name} in {said}")
    };
    line.trim()
}

fn odd_households(settings: &[(String, String)]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("odd.csv"), format!("{HEADER}{ODD}")).unwrap();
    let arguments = ["journey", "--households", "odd.csv", "--keep", "kept"];
    let output = publica(&arguments, folder.path(), settings);
    adds_up(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told(&said, "signed in "), "3", "{said}");
    assert_eq!(told(&said, "paid as decided "), "2", "{said}");
    // Not the first of the file, and all blocks know the case.
    assert_eq!(told(&said, "line of the person shown "), "3", "{said}");
    assert_eq!(told(&said, "blocks in that person's trail "), "6", "{said}");
    let kept = folder.path().join("kept");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("letters")), 0o700);
    assert_eq!(mode(&kept.join("data")), 0o700);
    for file in [
        "1-enrolled.jsonl",
        "4-decided.jsonl",
        "8-trail.jsonl",
        "letters/line-0000003.pdf",
    ] {
        assert_eq!(mode(&kept.join(file)), 0o600, "{file}");
    }
    let trail = std::fs::read_to_string(kept.join("8-trail.jsonl")).unwrap();
    for action in [
        "identity.person.enrolled",
        "payments.instruction.received",
        "messaging.message.ended",
    ] {
        assert!(trail.contains(action), "{action} in {trail}");
    }
    // What is there already is not written over.
    let before = std::fs::read(kept.join("8-trail.jsonl")).unwrap();
    let again = publica(&arguments, folder.path(), settings);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let complained = String::from_utf8_lossy(&again.stderr);
    assert!(complained.contains("kept is not empty"), "{complained}");
    assert_eq!(std::fs::read(kept.join("8-trail.jsonl")).unwrap(), before);
}

#[test]
fn odd_households_add_up_on_embedded_stores() {
    odd_households(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_households_add_up_on_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let settings = database_settings(&Database::postgres().await);
    let migrated = publica(&["migrate"], folder.path(), &settings);
    assert!(migrated.status.success(), "{migrated:?}");
    odd_households(&settings);
}

/// One suite and the journeys that act on it, one after the other.
struct Visited {
    folder: tempfile::TempDir,
    gateway: u16,
    mail: u16,
    settings: Vec<(String, String)>,
}

impl Visited {
    fn new(settings: Vec<(String, String)>) -> Self {
        let mut ports = Ports::new();
        let visited = Self {
            folder: tempfile::tempdir().unwrap(),
            gateway: ports.free(),
            mail: ports.free(),
            settings,
        };
        let place = visited.folder.path();
        let migrated = publica(&["migrate", "--data", "data"], place, &visited.settings);
        assert!(migrated.status.success(), "{migrated:?}");
        let token = publica(&["token", "--scope", "*", "--data", "data"], place, &[]);
        assert!(token.status.success(), "{token:?}");
        std::fs::write(place.join("token"), token.stdout).unwrap();
        visited
    }

    /// A journey over the network. The suite starts once the journey's mail server has told its
    /// authority, and stops after it.
    fn journey(&self, name: &str, households: &str) {
        let place = self.folder.path();
        let file = format!("{name}.csv");
        std::fs::write(place.join(&file), format!("{HEADER}{households}")).unwrap();
        let (mail, authority) = (format!("127.0.0.1:{}", self.mail), format!("{name}.pem"));
        let gateway = format!("127.0.0.1:{}", self.gateway);
        let journey = running::publica()
            .args(["journey", "--households", &file, "--token-file", "token"])
            .args(["--gateway", &format!("http://{gateway}")])
            .args(["--mail", &mail, "--mail-authority", &authority])
            .current_dir(place)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("a mail server", || place.join(&authority).exists());
        let mut command = running::publica();
        command
            .args([
                "up",
                "--data",
                "data",
                "--admin",
                "127.0.0.1:0",
                "--listen",
                &gateway,
            ])
            .current_dir(place)
            .envs(self.settings.iter().cloned())
            .env("PUBLICA_MESSAGING__RELAY__HOST", "127.0.0.1")
            .env("PUBLICA_MESSAGING__RELAY__PORT", self.mail.to_string())
            .env("PUBLICA_MESSAGING__RELAY__TLS", "starttls")
            .env(
                "PUBLICA_MESSAGING__RELAY__CA_PEM_FILE",
                place.join(&authority),
            );
        let mut suite = Running::start(&mut command);
        adds_up(&journey.wait_with_output().unwrap());
        suite.signal("TERM");
        assert_eq!(suite.end().code(), Some(0));
    }
}

fn a_suite_is_visited_twice(settings: Vec<(String, String)>) {
    let visited = Visited::new(settings);
    visited.journey(
        "one",
        "H1,111111,Ada,Okafor,1980-01-01,a@example.org,en,4,0,NBANK-11111111\n",
    );
    visited.journey(
        "two",
        "H2,222222,Bola,Eze,1981-01-01,b@example.org,en,4,0,NBANK-22222222\n",
    );
}

#[test]
fn runs_of_one_minute_do_not_collide_on_embedded_stores() {
    a_suite_is_visited_twice(Vec::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_minute_do_not_collide_on_postgresql() {
    let database = Database::postgres().await;
    a_suite_is_visited_twice(database_settings(&database));
}

#[test]
fn one_sign_in_is_enough_for_a_trail_and_nobody_approved_for_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let refused = ODD.lines().last().unwrap();
    let file =
        format!("{HEADER}H0,999999,Dayo,Eze,1982-01-01,d@example.org,en,2,90000000,\n{refused}\n");
    std::fs::write(folder.path().join("refused.csv"), file).unwrap();
    let arguments = ["journey", "--households", "refused.csv", "--sign-in", "1"];
    let output = publica(&arguments, folder.path(), &[]);
    adds_up(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told(&said, "signed in "), "1", "{said}");
    assert_eq!(told(&said, "  approved "), "0", "{said}");
    assert_eq!(told(&said, "line of the person shown "), "3", "{said}");
    // Payments know nothing of who was refused.
    assert_eq!(told(&said, "blocks in that person's trail "), "5", "{said}");
}

#[test]
fn a_malformed_file_is_refused_with_every_line_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.csv");
    let rows = "H1,12x,A,B,1980-01-01,a@example.org,en,1,0,\nH2,123456\n\
                H3,123456,A,B,2999-01-01,a;b@example.org,en,1,0,\n\
                H4,123456,A,B,1980-01-01,a@example.org,en,1,0,\n\
                H4,654321,C,B,1980-01-01,c@example.org,en,1,0,\n";
    std::fs::write(&file, format!("{HEADER}{rows}")).unwrap();
    let arguments = ["journey", "--households", "bad.csv", "--keep", "kept"];
    let output = publica(&arguments, folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let complained = String::from_utf8_lossy(&output.stderr);
    for problem in [
        "line 2: national_id",
        "line 3: 2 columns instead of 10",
        "line 4: date_of_birth: lies in the future",
        "line 4: email: an e-mail address is expected",
        "line 6: household_id: is that of another person's household in line 5",
    ] {
        assert!(complained.contains(problem), "{problem} in {complained}");
    }
    assert!(!folder.path().join("kept").exists());
}
