//! A provider of mobile money, over HTTP as the GSMA Mobile Money API has it. It moves no money,
//! but remembers what it would have moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::http::{Request, Response, serve};

/// The key that the provider wants of its callers.
pub const MOBILE_MONEY_KEY: &str = "test-key";
/// Who may have tokens of the provider: `ministry` and this secret, as `Authorization` has them.
const BASIC: &str = "Basic bWluaXN0cnk6c2VjcmV0";

/// How the provider deals with payments to a number, by its last two digits. All else is taken
/// at once and made when it is first asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// `01`: the account is unknown.
    Reject,
    /// `02`: taken, and failed later.
    Fail,
    /// `03`: the first order gets lost on its way.
    LoseOrder,
    /// `04`: the answer to the first order gets lost.
    LoseAnswer,
    /// `05`: still pending for the first three questions.
    Late,
    /// `06`: too busy for the first order, which it forgets.
    Busy,
    /// `07`: another amount than ordered is paid.
    Differ,
    /// `08`: never answers an order, nor a question about it.
    Mute,
    /// `09`: made and told at once.
    AtOnce,
    Take,
}

#[derive(Debug)]
struct Payment {
    payee: String,
    amount: String,
    currency: String,
    habit: Habit,
    questions: usize,
}

#[derive(Debug, Default)]
struct Memory {
    /// By the caller's id, in which the provider's own are made of it.
    payments: BTreeMap<String, Payment>,
    /// Orders by the caller's id, those that got lost among them.
    orders: BTreeMap<String, usize>,
    /// Money that was moved: payee and amount.
    moved: Vec<(String, String)>,
    requests: usize,
    refused: Vec<String>,
    /// Set if callers need tokens in place of the key: calls that each token is good for.
    token_calls: Option<usize>,
    tokens: usize,
    /// Calls that the last token is still good for.
    calls_left: usize,
}

/// The provider. It ends when it is dropped.
#[derive(Debug)]
pub struct MobileMoney {
    url: String,
    memory: Arc<Mutex<Memory>>,
    _server: AbortOnDropHandle<()>,
}

impl MobileMoney {
    /// Starts a provider on a free port.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts one that wants tokens, each of which it takes for so many calls: fewer than the
    /// life that it promises lets expect. Client and secret are `ministry` and `secret`.
    pub async fn start_with_tokens(calls: usize) -> Self {
        Self::start_with(Some(calls)).await
    }

    async fn start_with(token_calls: Option<usize>) -> Self {
        let memory = Arc::new(Mutex::new(Memory {
            token_calls,
            ..Memory::default()
        }));
        let known = memory.clone();
        let reply = move |request: &Request| {
            let (status, body) = answer(request, &known)?;
            Some(Response {
                status,
                content_type: "application/json",
                retry_after: None,
                body: body.to_string(),
            })
        };
        let (address, server) = serve(reply).await;
        Self {
            url: format!("http://{address}/v1.2/mm"),
            memory,
            _server: server,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it gives tokens.
    pub fn token_url(&self) -> String {
        self.url.replace("/v1.2/mm", "/oauth/token")
    }

    /// How many tokens it gave.
    pub fn tokens(&self) -> usize {
        lock(&self.memory).tokens
    }

    /// The money that it moved, in order of payees: who was paid how much.
    pub fn moved(&self) -> Vec<(String, String)> {
        let mut moved = lock(&self.memory).moved.clone();
        moved.sort();
        moved
    }

    /// How often each payment was ordered, by the caller's id.
    pub fn orders(&self) -> BTreeMap<String, usize> {
        lock(&self.memory).orders.clone()
    }

    /// How many calls came.
    pub fn requests(&self) -> usize {
        lock(&self.memory).requests
    }

    /// What was wrong with calls, if anything was.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.memory).refused.clone()
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = Option<(u16, Value)>;

fn fault(status: u16, category: &str, code: &str) -> Answer {
    let body = json!({
        "errorCategory": category,
        "errorCode": code,
        "errorDescription": "as the test wants it",
        "errorDateTime": "2026-03-01T10:00:00Z",
    });
    Some((status, body))
}

fn answer(request: &Request, memory: &Mutex<Memory>) -> Answer {
    let mut memory = lock(memory);
    memory.requests += 1;
    if (request.method.as_str(), request.path.as_str()) == ("POST", "/oauth/token") {
        return memory.give_token(request);
    }
    if !memory.lets_in(request) {
        return fault(401, "authorization", "authorizationError");
    }
    let path = request.path.strip_prefix("/v1.2/mm/").unwrap_or_default();
    let (resource, name) = path.split_once('/').unwrap_or((path, ""));
    match (request.method.as_str(), resource) {
        ("POST", "transactions") if name == "type/disbursement" => order(request, &mut memory),
        ("GET", "requeststates") => memory.state(name.strip_prefix("R-").unwrap_or_default()),
        ("GET", "responses") => memory.response(name),
        ("GET", "transactions") => memory.transaction(name.strip_prefix("T-").unwrap_or_default()),
        _ => {
            memory
                .refused
                .push(format!("{} {}", request.method, request.path));
            fault(404, "identification", "identifierError")
        }
    }
}

fn order(request: &Request, memory: &mut Memory) -> Answer {
    let (id, payment) = match understand(request) {
        Ok(understood) => understood,
        Err(what) => {
            memory.refused.push(what.to_owned());
            return fault(400, "validation", "formatError");
        }
    };
    let orders = memory.orders.entry(id.clone()).or_default();
    *orders += 1;
    let first = *orders == 1;
    let taken = json!({
        "serverCorrelationId": format!("R-{id}"),
        "status": "pending",
        "notificationMethod": "polling",
        "objectReference": format!("T-{id}"),
        "pollLimit": 100,
    });
    match payment.habit {
        Habit::Reject => return fault(404, "identification", "identifierError"),
        Habit::LoseOrder if first => return None,
        Habit::Busy if first => return fault(503, "serviceUnavailable", "genericError"),
        _ => {}
    }
    // A repeat gets the first answer and moves nothing.
    if memory.payments.contains_key(&id) {
        return Some((202, taken));
    }
    let habit = payment.habit;
    if habit != Habit::Fail {
        let amount = match habit {
            Habit::Differ => "0.01".to_owned(),
            _ => payment.amount.clone(),
        };
        memory.moved.push((payment.payee.clone(), amount));
    }
    memory.payments.insert(id.clone(), payment);
    match habit {
        Habit::LoseAnswer | Habit::Mute | Habit::Differ => None,
        Habit::AtOnce => memory.transaction(&id).map(|(_, body)| (201, body)),
        _ => Some((202, taken)),
    }
}

/// What is ordered, or what is wrong with the order.
fn understand(request: &Request) -> Result<(String, Payment), &'static str> {
    let id = request.headers.get("x-correlationid");
    let id = id.ok_or("X-CorrelationID is missing")?;
    let dashes = id.bytes().filter(|byte| *byte == b'-').count();
    if id.len() != 36 || dashes != 4 {
        return Err("X-CorrelationID is no UUID");
    }
    let date = request.headers.get("date").map(String::as_str);
    if !date.is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")) {
        return Err("Date is no date");
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| "the body is no JSON")?;
    let amount = body["amount"].as_str().ok_or("amount is no text")?;
    let plain = amount
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !plain || (amount.contains('.') && amount.ends_with(['0', '.'])) {
        return Err("amount has the wrong form");
    }
    let party = |name: &str| {
        let party = body[name].as_array().filter(|party| party.len() == 1)?;
        let known = party[0]["key"].as_str().is_some_and(|key| !key.is_empty());
        party[0]["value"].as_str().filter(|_| known)
    };
    party("debitParty").ok_or("debitParty is wrong")?;
    let payee = party("creditParty").ok_or("creditParty is wrong")?;
    let currency = body["currency"].as_str().ok_or("currency is missing")?;
    let habit = match payee
        .get(payee.len().saturating_sub(2)..)
        .unwrap_or_default()
    {
        "01" => Habit::Reject,
        "02" => Habit::Fail,
        "03" => Habit::LoseOrder,
        "04" => Habit::LoseAnswer,
        "05" => Habit::Late,
        "06" => Habit::Busy,
        "07" => Habit::Differ,
        "08" => Habit::Mute,
        "09" => Habit::AtOnce,
        _ => Habit::Take,
    };
    let payment = Payment {
        payee: payee.to_owned(),
        amount: amount.to_owned(),
        currency: currency.to_owned(),
        habit,
        questions: 0,
    };
    Ok((id.clone(), payment))
}

impl Memory {
    fn give_token(&mut self, request: &Request) -> Answer {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        if self.token_calls.is_none() || header("authorization") != Some(BASIC) {
            return Some((401, json!({"error": "invalid_client"})));
        }
        let form = header("content-type") == Some("application/x-www-form-urlencoded");
        if !form || request.body != b"grant_type=client_credentials&scope=pay" {
            self.refused.push("no token is asked for so".to_owned());
            return Some((400, json!({"error": "invalid_request"})));
        }
        self.tokens += 1;
        self.calls_left = self.token_calls.unwrap_or_default();
        let token = format!("token-{}", self.tokens);
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3_600});
        Some((200, body))
    }

    /// Whether a caller may call.
    fn lets_in(&mut self, request: &Request) -> bool {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        if self.token_calls.is_none() {
            let known = header("x-api-key") == Some(MOBILE_MONEY_KEY);
            if !known {
                self.refused.push("the key is wrong".to_owned());
            }
            return known;
        }
        let token = format!("Bearer token-{}", self.tokens);
        let known = self.tokens > 0 && header("authorization") == Some(token.as_str());
        let left = known && self.calls_left > 0;
        self.calls_left -= usize::from(left);
        left
    }

    fn state(&mut self, id: &str) -> Answer {
        let Some(payment) = self.payments.get_mut(id) else {
            return fault(404, "identification", "identifierError");
        };
        payment.questions += 1;
        let mut body = json!({
            "serverCorrelationId": format!("R-{id}"),
            "status": "completed",
            "objectReference": format!("T-{id}"),
        });
        match payment.habit {
            Habit::Late if payment.questions <= 3 => body["status"] = "pending".into(),
            Habit::Fail => {
                body["status"] = "failed".into();
                body["error"] = json!({
                    "errorCategory": "businessRule",
                    "errorCode": "accountMaxTotalValueExceeded",
                });
            }
            _ => {}
        }
        Some((200, body))
    }

    fn response(&self, id: &str) -> Answer {
        match self.payments.get(id).map(|payment| payment.habit) {
            None => fault(404, "identification", "identifierError"),
            Some(Habit::Mute) => None,
            Some(_) => Some((200, json!({"link": format!("/transactions/T-{id}")}))),
        }
    }

    fn transaction(&self, id: &str) -> Answer {
        let Some(payment) = self.payments.get(id) else {
            return fault(404, "identification", "identifierError");
        };
        let amount = match payment.habit {
            Habit::Differ => "0.01",
            _ => &payment.amount,
        };
        let body = json!({
            "transactionReference": format!("T-{id}"),
            "transactionStatus": "completed",
            "type": "disbursement",
            "amount": amount,
            "currency": payment.currency,
        });
        Some((200, body))
    }
}
