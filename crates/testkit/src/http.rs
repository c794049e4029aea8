//! As much of a server of HTTP/1.1 as providers in tests need: one call a connection, each
//! answered by a function.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

const MOST_REQUEST: usize = 1 << 20;

/// A call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

/// Serves until the handle is dropped. Without an answer the connection ends, as when it is cut.
pub(crate) async fn serve<F>(answer: F) -> (SocketAddr, AbortOnDropHandle<()>)
where
    F: Fn(&Request) -> Option<Response> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    let serve = async move {
        let mut calls = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            calls.spawn(async move { call(stream, &*answer).await });
            while calls.try_join_next().is_some() {}
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the handle ends the task")]
    let server = AbortOnDropHandle::new(tokio::spawn(serve));
    (address, server)
}

async fn call(mut stream: TcpStream, answer: &(dyn Fn(&Request) -> Option<Response> + Sync)) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let Some(response) = answer(&request) else {
        return;
    };
    let after = response
        .retry_after
        .map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {} Answer\r\ncontent-type: {}\r\ncontent-length: {}\r\n{after}\
         connection: close\r\n\r\n",
        response.status,
        response.content_type,
        response.body.len()
    );
    // A caller that went away is no concern of the provider's.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(response.body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let count = stream.read_buf(&mut bytes).await.ok()?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut lines = head.lines();
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let header = |line: &str| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_lowercase(), value.trim().to_owned()))
            };
            let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
            let length = headers.get("content-length").map_or(Ok(0), |n| n.parse());
            let length: usize = length.ok()?;
            let body = &bytes[end + 4..];
            if body.len() >= length {
                let body = body.to_vec();
                return Some(Request {
                    method,
                    path,
                    headers,
                    body,
                });
            }
        }
        if count == 0 || bytes.len() > MOST_REQUEST {
            return None;
        }
    }
}
