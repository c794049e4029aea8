//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use publica_host::Profile;
use publica_journal::verify::Pin;

/// Government building blocks: identity, signature, payments, messaging, registration and
/// consent, each on its own or all in one process.
#[derive(Debug, Parser)]
#[command(
    name = "publica",
    version,
    propagate_version = true,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start here:\n  publica up                 serve everything on this machine\n  \
                  publica journey            watch a whole public service run, start to end\n  \
                  publica help COMMAND       learn about a command\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 64 wrong settings."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the suite, or some of its blocks, in one process.
    ///
    /// Opens an embedded store for each block under the data folder, then serves REST, gRPC and
    /// pages on one port. Blocks call each other inside the process and pass the same checks as
    /// calls from the network. The token of an administrator is written to the data folder.
    #[command(after_help = "Examples:\n  publica up\n  \
        publica up --blocks payments,gateway --data /tmp/pay\n  \
        publica up --surface payments=127.0.0.1:3333    published paths at the root of a port\n  \
        publica up --profile conformance --surface consent=127.0.0.1:8888")]
    Up(UpArgs),

    /// Run a whole public service from a file of households, and check that it adds up.
    ///
    /// Starts every block in this process and then acts only as outside clients do, over HTTP to
    /// the gateway: people are enrolled, sign in with a code from their mail, consent, apply, are
    /// decided on, get signed letters, are paid and are told; at the end one person's trail is
    /// verified offline. Exits with 1 if anything does not add up.
    #[command(after_help = "Examples:\n  publica journey\n  \
        publica journey --households my.csv --keep /tmp/run\n  \
        publica journey --config postgres.toml      stores on PostgreSQL\n  \
        publica journey --gateway http://127.0.0.1:8080 --token-file publica-data/admin.token \\\n    \
        --mail 127.0.0.1:2525 --mail-authority /tmp/mail-ca.pem")]
    Journey(JourneyArgs),

    /// Serve the identity block: people, their factors, relying parties, OpenID Connect.
    #[command(after_help = ROLE_HELP)]
    Identity(RoleArgs),
    /// Serve the signature block: signatures, seals, certificates, time-stamps.
    #[command(after_help = ROLE_HELP)]
    Signature(RoleArgs),
    /// Serve the payments block: ledger, account mapper, batches, vouchers.
    #[command(after_help = ROLE_HELP)]
    Payments(RoleArgs),
    /// Serve the messaging block: mail and short messages, and their delivery.
    #[command(after_help = ROLE_HELP)]
    Messaging(RoleArgs),
    /// Serve the registration block: services, forms, applications, tasks.
    #[command(after_help = ROLE_HELP)]
    Registration(RoleArgs),
    /// Serve the consent block: agreements, consent records, decisions.
    #[command(after_help = ROLE_HELP)]
    Consent(RoleArgs),
    /// Serve the gateway: published REST surfaces and pages in front of blocks elsewhere.
    ///
    /// The blocks behind it are the ones with an endpoint in [peers].
    #[command(after_help = ROLE_HELP)]
    Gateway(RoleArgs),

    /// Bring the schema of stores up to date, then stop.
    ///
    /// SQLite stores are also migrated at start. On PostgreSQL this is the only way: it runs as
    /// the owner named in database.migrate_url, while the service's own role cannot change the
    /// schema. It is safe to run beside a server of the release before.
    #[command(after_help = "Examples:\n  publica migrate --config postgres.toml\n  \
        publica migrate --blocks payments,consent")]
    Migrate(MigrateArgs),

    /// Check a settings file and report every problem in it.
    ///
    /// Reads the file and the environment exactly as a server would, binds no socket and opens
    /// no store. Exits with 64 if anything is wrong.
    #[command(after_help = "Examples:\n  publica check-config publica.toml\n  \
        PUBLICA_PROFILE=production publica check-config publica.toml")]
    CheckConfig {
        /// Settings file (TOML).
        file: PathBuf,
    },

    /// Bring entities in from a JSON Lines file, one a line.
    ///
    /// Each line is an object with a member `kind`, such as "payments.voucher", and goes to the
    /// block that the kind names. All problems are listed with their line numbers. Running an
    /// import again is safe: what is stored already counts as repeated, and something else under
    /// the same id is a problem. An import sends no mail, money, callbacks or webhooks.
    ///
    /// `--schema list` names the kinds, `--schema KIND` prints the JSON Schema of a kind's lines,
    /// with an example.
    #[command(after_help = "Examples:\n  publica import people.jsonl\n  \
        publica import --schema payments.voucher\n  \
        publica import - --to https://suite.example.org --authorities ca.pem \\\n    \
        --token-file import.token < people.jsonl")]
    Import(ImportArgs),

    /// Export the trail of one case, or the whole log of a block, with all that proves it.
    ///
    /// Asks the blocks' journals over gRPC, for which the token needs the scope BLOCK:journal:read
    /// of each. What was committed before the call is in it. `publica verify` checks the file.
    /// A whole log that is interrupted leaves OUTPUT.partial, and the same command goes on from
    /// there. Entries name who did what to what by opaque ids, so keep exports to those whom they
    /// concern.
    #[command(after_help = "Examples:\n  \
        publica export --process 7c0e1e9e-2f4b-4c0e-9b1e-0a4f3c1d2b5a --output trail.jsonl\n  \
        publica export --block payments --output payments.jsonl --keys payments.keys\n  \
        publica export --block consent --to https://suite.example.org --authorities ca.pem \\\n    \
        --token-file auditor.token --output consent.jsonl\n  \
        publica verify payments.jsonl --keys payments.keys")]
    Export(ExportArgs),

    /// Verify an exported trail: Merkle proofs and signatures, without network or database.
    ///
    /// An export holds the trail of one case, or whole logs, as JSON Lines. `publica export` makes
    /// them, and `publica journey --keep DIR` leaves one.
    ///
    /// Found is what was changed, left out, put in or signed twice: entries, bodies, checkpoints
    /// and whole logs. What a file cannot prove is whose keys signed it, as a forger can sign
    /// with keys of their own. Keep the keys of the logs, or a checkpoint of each, apart from the
    /// file and give them here; otherwise the verdict says that the keys come from the file
    /// itself.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),

    /// Check a payment's receipt: its path to the approved digest, without network or database.
    ///
    /// Proves that the payment stands in the batch whose digest people approved, and says which
    /// payment that is. Compare the digest with the one that the approvers saw.
    ///
    /// A balance of a closed accounting period is checked as well: that it is one of those under
    /// the period's root. Compare the root with the one in the journal.
    #[command(after_help = "Examples:\n  publica verify-receipt receipt.json\n  \
        curl -H \"authorization: Bearer $TOKEN\" \\\n    \
        http://127.0.0.1:8080/payments/v1/batches/B/receipts/I | publica verify-receipt -\n  \
        publica verify-receipt balance.json\n\n\
        Exit codes: 0 valid, 1 not valid or not readable, 2 wrong usage.")]
    VerifyReceipt {
        /// The receipt (JSON) of /v1/batches/{batch}/receipts/{instruction}, or the balance of
        /// /v1/ledger/periods/{period}/balances/{account}; - reads standard input.
        receipt: PathBuf,
    },

    /// Make the keys that the processes of a suite share, before its first start; or change them.
    ///
    /// Writes two files for their owner alone: seal.json, which encrypts personal data at rest
    /// and derives the secrets of blocks ([seal] file), and workload.jwk, by which blocks prove
    /// themselves to each other (workload_key). Files that exist are never touched: whoever loses
    /// seal.json loses all personal data, so keep a copy apart from the stores. Outside
    /// production a suite makes them itself.
    #[command(after_help = "Examples:\n  publica keys --to keys\n  \
        kubectl create secret generic publica-keys --from-file=keys/seal.json \\\n    \
        --from-file=keys/workload.jwk")]
    Keys(KeysArgs),

    /// Mint a short-lived token with the suite's own key: an administrator's first, or for trying
    /// calls by hand.
    ///
    /// Needs to read the signing key in the data folder, so it works where the suite runs. In
    /// production it is how the first administrator gets in: who holds the key may do everything.
    #[command(
        after_help = "Examples:\n  publica token --scope consent:record:read --minutes 10\n  \
        publica token --scope '*' --minutes 15 --key keys/workload.jwk\n  \
        kubectl exec deploy/it-gateway -- publica token --scope '*' --minutes 15 \\\n    \
        --data /var/lib/publica"
    )]
    Token(TokenArgs),

    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  publica completions bash > \
        ~/.local/share/bash-completion/completions/publica")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },

    /// Copy all embedded stores and keys to a folder, while the suite runs.
    ///
    /// Copies the data folder, and what the settings place outside of it: stores, seal.file and
    /// workload_key. Each store is copied at one moment of its own; blocks come back to slightly
    /// different moments, and `publica doctor` lists what no longer fits together. The copy holds
    /// keys: keep it as safe as the original. What it cannot hold it names: stores on PostgreSQL,
    /// which has tools of its own, and keys that are given in the environment.
    #[command(after_help = "Examples:\n  publica backup --to /backup/monday\n  \
        publica backup --config publica.toml --to /backup/monday")]
    Backup(BackupArgs),

    /// Bring a backup back into an empty data folder, or mark stores that came back otherwise.
    ///
    /// Checks every checksum first. Each store opens a new journal epoch when it next starts,
    /// because it is older than what has been signed. What stood outside the data folder goes
    /// where the settings say now, and must not be there yet.
    ///
    /// A store that another tool brought back, such as PostgreSQL's own or a snapshot of a volume,
    /// gets the same mark by --mark, before any server is started on it: without the mark, only the
    /// witness keeps its log from signing two histories under one name.
    #[command(after_help = "Examples:\n  \
        publica restore --from /backup/monday --data publica-data\n  \
        publica restore --from /backup/monday --config publica.toml\n  \
        publica restore --mark --config publica.toml --blocks payments")]
    Restore(RestoreArgs),

    /// Look for what is wrong: settings, files and their modes, stores, disk, servers.
    #[command(after_help = "Example:\n  publica doctor --config publica.toml")]
    Doctor(DoctorArgs),
}

/// Longest scope.
const MAX_SCOPE: usize = 200;

const ROLE_HELP: &str = "Settings come from the file, then from variables such as\n\
    PUBLICA_PAYMENTS__DATABASE__URL. `publica check-config FILE` reports all problems in them.";

const VERIFY_HELP: &str = "Examples:\n  publica verify kept/8-trail.jsonl\n  \
    publica verify kept/8-trail.jsonl --keys kept/8-keys.txt\n  \
    publica verify trail.jsonl --checkpoint payments.checkpoint --json\n  \
    publica verify - < trail.jsonl\n\n\
    Keys: ListEpochs and GetCheckpoint of a block's JournalService give its log's key and newest\n\
    checkpoint, and each report prints the keys. A log keeps its key over its epochs, so ORIGIN\n\
    may leave out the epoch at its end: town.example/payments/default. Once a key is given, each\n\
    log needs one or a checkpoint, and each log that was given a key must be in the export.\n\n\
    Exit codes: 0 valid, 1 not valid or not readable, 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Exported trail (JSON Lines), or a folder of some; - reads standard input.
    pub(crate) export: PathBuf,

    /// Key that a log must have, in the form name+id+base64; may be repeated.
    #[arg(long, value_name = "ORIGIN=KEY")]
    pub(crate) key: Vec<Pin>,

    /// File of such keys, one a line; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,

    /// File of a checkpoint that was kept from earlier, whose key its log must have and whose
    /// tree it must continue; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,

    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JourneyArgs {
    /// File of households (CSV); 200 made-up ones if none is named.
    #[arg(long, value_name = "FILE")]
    pub(crate) households: Option<PathBuf>,

    /// Keep stores, letters, steps and the trail in this folder; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,

    /// Settings file of the suite that is started, such as one that names PostgreSQL.
    #[arg(long, value_name = "FILE", conflicts_with = "gateway")]
    pub(crate) config: Option<PathBuf>,

    /// Sign in only the first N people.
    #[arg(long, value_name = "N")]
    pub(crate) sign_in: Option<u64>,

    /// Act on a suite that runs already, at this address of its gateway.
    #[arg(long, value_name = "URL", requires = "token_file")]
    pub(crate) gateway: Option<String>,

    /// File with a token that may do everything there.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Address of the mailboxes, which that suite's messaging block must have as its relay.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mail: Option<SocketAddr>,

    /// Write the authority of the mailboxes' certificate to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) mail_authority: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Folder of stores, keys and the administrator's token [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Blocks to serve, with commas between; `gateway` among them for REST and pages
    /// [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) blocks: Vec<String>,

    /// Serve a block's published paths at the root of an address of its own; may be repeated.
    #[arg(long, value_name = "BLOCK=ADDRESS", value_parser = surface)]
    pub(crate) surface: Vec<(String, SocketAddr)>,

    /// Which rules of caution hold: local, production or conformance [default: local].
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<Profile>,

    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Address of the gateway, or of the one block if that is all [default: 127.0.0.1:8080, or
    /// the block's own].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,

    /// Address of probes and metrics [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of stores and keys [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of stores and keys [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Blocks to migrate [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) blocks: Vec<String>,
}

/// How a command that acts as a client finds the suite.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Address of the gateway, or of a block.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) to: String,

    /// File that holds the token to call with [default: admin.token in the data folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Folder of the suite, where its token is.
    #[arg(long, value_name = "DIR", default_value = "publica-data")]
    pub(crate) data: PathBuf,

    /// Authorities to trust for https (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) authorities: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File of entities (JSON Lines); - reads standard input.
    #[arg(required_unless_present = "schema")]
    pub(crate) file: Option<PathBuf>,

    /// Print the JSON Schema of a kind and import nothing; `list` names the kinds.
    #[arg(long, value_name = "KIND", conflicts_with = "file")]
    pub(crate) schema: Option<String>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The case whose trail is exported, as calls name it (x-process-id).
    #[arg(long, value_name = "ID", required_unless_present = "block")]
    pub(crate) process: Option<String>,

    /// The block whose whole log is exported.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["process", "blocks"])]
    pub(crate) block: Option<String>,

    /// Blocks whose entries of the case are exported [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) blocks: Vec<String>,

    /// File for the export, which must not exist; standard output if none is named.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// File for the keys of the exported logs, to be kept apart from the export.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) action: Option<KeysAction>,

    /// Folder for the keys; it is made if it does not exist.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Move everything that is sealed to the active key of seal.json, so that others can go.
    ///
    /// Add a key to seal.json under a new id, make it `active`, and start every server of the
    /// suite anew; where servers start one after the other, first start all of them with the key
    /// added, then with it active. Then run this where the settings, the keys and the stores are.
    /// It moves a few hundred values at a time while the suite runs, embedded stores included,
    /// can be interrupted and goes on where it was. At the end it opens everything and counts what
    /// is under each key. Only a key that nothing is under may leave seal.json; backups that were
    /// made before need it still, so keep it with them.
    #[command(after_help = "Examples:\n  publica keys rotate\n  \
        publica keys rotate --config publica.toml --blocks payments\n  \
        publica keys rotate --count        count what is under each key, move nothing\n\n\
        Exit codes: 0 all is under the active key, 1 not so or failed, 2 wrong usage, 64 wrong\n\
        settings.")]
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of stores and keys [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Blocks whose stores are meant [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) blocks: Vec<String>,

    /// Only count what is under each key, and try to open it.
    #[arg(long)]
    pub(crate) count: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What the token allows, such as payments:account:write or payments:*; may be repeated.
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope)]
    pub(crate) scope: Vec<String>,

    /// Whom the token names.
    #[arg(long, default_value = "operator")]
    pub(crate) subject: String,

    /// The tenant it is for, one of those in the settings.
    #[arg(long, default_value = "default")]
    pub(crate) tenant: publica_types::Tenant,

    /// Minutes until it expires, at most a day.
    #[arg(long, value_name = "MINUTES", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub(crate) minutes: u64,

    /// Settings file of the suite (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of the suite, where its key is [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// File of the signing key, unless the settings name one (workload_key).
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of stores and keys [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Folder for the copy; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Folder that `publica backup` wrote.
    #[arg(long, value_name = "DIR", required_unless_present = "mark")]
    pub(crate) from: Option<PathBuf>,

    /// Only mark stores that were brought back by other means; no server may run on them.
    #[arg(long, conflicts_with = "from")]
    pub(crate) mark: bool,

    /// Blocks whose stores are marked [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "mark")]
    pub(crate) blocks: Vec<String>,

    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Data folder to bring it back to; it must be empty or not exist [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", env = "PUBLICA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of stores and keys [default: publica-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The bounds of the claim `scope` (RFC 6749, 3.3): visible characters, with spaces between.
fn scope(text: &str) -> Result<String, String> {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.is_empty() || text.len() > MAX_SCOPE || !text.bytes().all(visible) {
        return Err(format!(
            "a scope is 1 to {MAX_SCOPE} visible characters, such as payments:account:write"
        ));
    }
    Ok(text.to_owned())
}

fn surface(text: &str) -> Result<(String, SocketAddr), String> {
    let (block, address) = text.split_once('=').ok_or("must be BLOCK=ADDRESS")?;
    let address = address
        .parse()
        .map_err(|_| format!("{address} is no address and port"))?;
    Ok((block.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scopes_are_single_words() {
        for good in ["*", "payments:*", "payments:account:write"] {
            assert_eq!(scope(good).as_deref(), Ok(good));
        }
        for bad in ["", " ", "a b", "a\tb", "a\"", &"x".repeat(201)] {
            assert!(scope(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn surfaces_are_read() {
        let (block, address) = surface("payments=127.0.0.1:3333").unwrap();
        assert_eq!((block.as_str(), address.port()), ("payments", 3333));
        assert!(surface("payments").is_err() && surface("payments=x").is_err());
    }
}
