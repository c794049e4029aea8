//! A read of one service of the registration block, which takes less than any other published one:
//! through the gateway and the block with all their layers, down to the store; in one process, and
//! with gateway and block as processes of their own. Beside it a policy of the consent block, whose
//! answer is long and nested.
//!
//! The limit is nginx answering the same bytes from memory. Both are asked by wrk, over as many
//! connections, one after the other.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use publica_testkit::{Database, TestDatabase};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::pace::{Load, Pace};
use crate::program::{Program, admin_token, publica};
use crate::report::Report;

const LIMIT: &str = "nginx with the same bytes";

/// Measures on both engines.
pub(crate) async fn measure(load: Load, report: &mut Report) -> anyhow::Result<()> {
    for tool in ["wrk", "nginx"] {
        let found = Command::new(tool).arg("-v").output();
        found.with_context(|| {
            format!("{tool} is not installed: apt-get install -y wrk nginx-light")
        })?;
    }
    for block in ["registration", "consent"] {
        for database in [Database::sqlite(), Database::durable_postgres().await] {
            let folder = tempfile::tempdir()?;
            let place = Place {
                block,
                folder: folder.path(),
                database: &database,
            };
            place.measure(load, report).await?;
        }
    }
    Ok(())
}

/// Where the suite is, and what it is asked.
pub(crate) struct Place<'p> {
    pub(crate) block: &'static str,
    pub(crate) folder: &'p Path,
    pub(crate) database: &'p TestDatabase,
}

impl Place<'_> {
    async fn measure(&self, load: Load, report: &mut Report) -> anyhow::Result<()> {
        self.migrate()?;
        let together = self.together()?;
        let address = together.address("gateway")?.to_owned();
        let token = admin_token(&self.folder.join("data"))?;
        let path = match self.block {
            "consent" => policy(&address, &token).await?,
            _ => service(&address, &token).await?,
        };
        let answer = Answer::get(&address, &path, &token).await?;
        let limit = answer.through_nginx(self.folder, load).await?;
        let one = wrk(&format!("http://{address}{path}"), &token, load)?;
        let engine = self.database.engine().as_str();
        if self.block == "consent" {
            return report.add("gateway-policy", engine, one, LIMIT, limit.rate);
        }
        report.add("gateway", engine, one, LIMIT, limit.rate)?;
        drop(together);
        let (_block, gateway) = self.apart()?;
        let address = gateway.address("gateway")?;
        Answer::get(address, &path, &token).await?;
        let two = wrk(&format!("http://{address}{path}"), &token, load)?;
        report.add("gateway-two-processes", engine, two, LIMIT, limit.rate)
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = publica()?;
        command
            .args(arguments)
            .arg("--data")
            .arg(self.folder.join("data"));
        command.env(
            format!("PUBLICA_{}__DATABASE__URL", self.block.to_uppercase()),
            self.database.config().url.expose(),
        );
        Ok(command)
    }

    /// Makes the store.
    pub(crate) fn migrate(&self) -> anyhow::Result<()> {
        let mut command = self.command(&["migrate", "--blocks", self.block])?;
        let status = command.stdout(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "the store was not made");
        Ok(())
    }

    /// Starts block and gateway in one process; the first start writes the administrator's token.
    pub(crate) fn together(&self) -> anyhow::Result<Program> {
        let blocks = format!("{},gateway", self.block);
        let mut command = self.command(&["up", "--blocks", &blocks])?;
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        Program::start(&mut command)
    }

    /// Starts one role as a process of its own.
    pub(crate) fn role(&self, role: &str, more: &str) -> anyhow::Result<Program> {
        let file = self.folder.join(format!("{role}.toml"));
        let free = "listen = '127.0.0.1:0'";
        let text = format!("[admin]\n{free}\n[listeners.{role}]\n{free}\n{more}");
        std::fs::write(&file, text)?;
        let mut command = self.command(&[role])?;
        Program::start(command.arg("--config").arg(file))
    }

    fn apart(&self) -> anyhow::Result<(Program, Program)> {
        let block = self.role(self.block, "")?;
        let peer = format!(
            "[peers.{}]\nendpoint = 'http://{}'\n",
            self.block,
            block.address(self.block)?
        );
        let gateway = self.role("gateway", &peer)?;
        Ok((block, gateway))
    }
}

/// Publishes a service; returns the path at which anybody with the right reads it.
async fn service(address: &str, token: &str) -> anyhow::Result<String> {
    let body = json!({
        "serviceId": "permit", "name": "Permit",
        "forms": [{"eFormId": "permit-form", "name": "Form", "containers": [{"key": "owner",
            "fields": [{"key": "age", "type": "integer", "required": true, "min": 0}]}]}],
        "decisions": [{"when": {"<": [{"var": "owner.age"}, 18]}, "outcome": "REJECTED",
            "reason": "Too young."}],
        "roles": [{"id": "clerk", "name": "Clerk"}],
    });
    let request = reqwest::Client::new()
        .post(format!("http://{address}/registration/api/v1/services"))
        .bearer_auth(token)
        .json(&body);
    request.send().await?.error_for_status()?;
    Ok("/registration/services/permit".to_owned())
}

/// Publishes a policy; returns the path at which anybody with the right reads it.
async fn policy(address: &str, token: &str) -> anyhow::Result<String> {
    let body = json!({"policy": {
        "name": "Household support privacy policy",
        "version": "1.0.0",
        "url": "https://portal.example.org/privacy",
        "jurisdiction": "XX",
        "industrySector": "Government",
        "dataRetentionPeriodDays": 365,
        "geographicRestriction": "XX",
        "storageLocation": "XX",
        "thirdPartyDataSharing": false,
    }});
    let answer = reqwest::Client::new()
        .post(format!("http://{address}/consent/config/policy/"))
        .bearer_auth(token)
        .json(&body)
        .send()
        .await?
        .error_for_status()?
        .json::<Value>()
        .await?;
    let id = answer["policy"]["id"].as_str().context("a policy's id")?;
    Ok(format!("/consent/config/policy/{id}/"))
}

/// What is answered, to be given by nginx as well.
struct Answer {
    content_type: String,
    body: String,
}

impl Answer {
    async fn get(address: &str, path: &str, token: &str) -> anyhow::Result<Self> {
        let request = reqwest::Client::new().get(format!("http://{address}{path}"));
        let answer = request.bearer_auth(token).send().await?;
        let answer = answer.error_for_status()?;
        let content_type = answer.headers()["content-type"].to_str()?.to_owned();
        Ok(Self {
            content_type,
            body: answer.text().await?,
        })
    }

    async fn through_nginx(&self, folder: &Path, load: Load) -> anyhow::Result<Pace> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let quoted = self.body.replace('\\', "\\\\").replace('\'', "\\'");
        anyhow::ensure!(!quoted.contains('$'), "nginx would read a variable");
        let text = format!(
            "daemon off; worker_processes 2; pid {place}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; keepalive_requests 100000000; default_type '{kind}';\n\
             client_body_temp_path {place}/nb; proxy_temp_path {place}/np;\n\
             fastcgi_temp_path {place}/nf; uwsgi_temp_path {place}/nu; scgi_temp_path {place}/ns;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{quoted}'; }} }} }}\n",
            place = folder.display(),
            kind = self.content_type,
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        let child = command.arg("-c").arg(&file).stderr(Stdio::null()).spawn()?;
        let _nginx = Ended(child);
        let url = format!("http://127.0.0.1:{port}/");
        let until = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            anyhow::ensure!(Instant::now() < until, "nginx does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        wrk(&url, "", load)
    }
}

/// A process that ends with the measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // The master ends its workers when it is asked to, not when it is killed.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.0.wait();
    }
}

/// Asks for a page with wrk. A warm-up goes before.
fn wrk(url: &str, token: &str, load: Load) -> anyhow::Result<Pace> {
    let ask = |seconds: u64| {
        let output = Command::new("wrk")
            .args(["-t1", "--latency"])
            .arg(format!("-c{}", load.in_flight))
            .arg(format!("-d{seconds}s"))
            .args(["-H", &format!("Authorization: Bearer {token}"), url])
            .output()?;
        anyhow::ensure!(output.status.success(), "wrk failed");
        Ok(String::from_utf8(output.stdout)?)
    };
    ask(1)?;
    let said = ask(load.span.as_secs().max(1))?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        bail!("some were not answered: {said}");
    }
    let after = |start: &str| {
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix(start));
        line.map(str::trim)
            .with_context(|| format!("{start} in {said}"))
    };
    Ok(Pace {
        rate: after("Requests/sec:")?.parse()?,
        p50_us: micros(after("50%")?)?,
        p99_us: micros(after("99%")?)?,
    })
}

/// A time as wrk writes it: `850.00us`, `1.20ms` or `1.00s`.
fn micros(text: &str) -> anyhow::Result<u64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1_000.0)
    } else {
        let number = text.strip_suffix('s').context("a time")?;
        (number, 1_000_000.0)
    };
    let duration = Duration::from_secs_f64(number.parse::<f64>()? * factor / 1e6);
    Ok(u64::try_from(duration.as_micros())?)
}
