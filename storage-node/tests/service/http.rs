//! The least of an HTTP server: what a ledger's API is made of in tests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves one request a connection until the runtime ends; `answer` is given the request's line
/// (`GET /path`) and body, and gives status and body. Answers the server's address.
pub async fn serve(
    answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, answer.clone()));
        }
    });
    format!("http://{address}")
}

async fn one(mut stream: TcpStream, answer: impl Fn(&str, &[u8]) -> (u16, Vec<u8>)) {
    let mut bytes = Vec::new();
    let (line, body) = loop {
        let mut buffer = [0; 16 << 10];
        let Ok(read @ 1..) = stream.read(&mut buffer).await else {
            return;
        };
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(asked) = parse(&bytes) {
            break asked;
        }
    };
    let (status, body) = answer(&line, &body);
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

fn parse(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let body = bytes[end + 4..].get(..length)?.to_vec();
    let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    Some((line, body))
}
