//! Plays Lambda's runtime API for one function at a time: it takes what a function asks for, and never has an event.

use crate::failure::internal;
use holdfast_vault::error::Result;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The longest body that is read: what a function says of its own failure.
const LONGEST: u64 = 1 << 20;

/// What a function asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Its next event, at this time.
    Next(Instant),
    /// Nothing: it said that it cannot start.
    Failed(String),
}

/// The runtime API on a port of this machine, until the process ends.
pub(crate) struct RuntimeApi {
    pub(crate) address: SocketAddr,
    asked: Receiver<Asked>,
}

/// What one request says.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    body: String,
}

impl RuntimeApi {
    /// Listens.
    ///
    /// # Errors
    /// `Internal` if there is no port.
    pub(crate) fn open() -> Result<Self> {
        let unheard = |e: io::Error| internal(format!("the runtime API has no port: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;
        let (tell, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                // A connection that breaks is one whose function was ended.
                thread::spawn(move || serve(&stream, &tell));
            }
        });
        Ok(Self { address, asked })
    }

    /// Forgets what functions before asked for.
    pub(crate) fn forget(&self) {
        while self.asked.try_recv().is_ok() {}
    }

    /// Waits for what the function asks for; nothing if it does not in time.
    pub(crate) fn wait(&self, most: Duration) -> Option<Asked> {
        self.asked.recv_timeout(most).ok()
    }
}

/// Answers the requests of one connection; one for the next event stays without an answer.
fn serve(mut stream: &TcpStream, tell: &Sender<Asked>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let asked = match (request.method.as_str(), request.path.as_str()) {
            ("GET", path) if path.ends_with("/runtime/invocation/next") => Some(Asked::Next(Instant::now())),
            ("POST", path) if path.ends_with("/runtime/init/error") => Some(Asked::Failed(request.body)),
            _ => None,
        };
        let waits = matches!(asked, Some(Asked::Next(_)));
        if let Some(asked) = asked
            && tell.send(asked).is_err()
        {
            return Ok(());
        }
        if waits {
            // Until the function goes away.
            return io::copy(&mut reader, &mut io::sink()).map(|_| ());
        }
        let status = if request.method == "POST" { "202 Accepted" } else { "404 Not Found" };
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    }
    Ok(())
}

/// Reads a request; nothing at the end of the connection.
fn read(reader: &mut BufReader<impl Read>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader.take(u64::min(length, LONGEST)).read_to_end(&mut body)?;
    Ok(Some(Request { method, path, body: String::from_utf8_lossy(&body).into_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn requests_are_read_one_after_the_other() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nx: y\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
        let mut reader = BufReader::new(text.as_bytes());
        let request = |method: &str, path: &str, body: &str| {
            Some(Request { method: method.into(), path: path.into(), body: body.into() })
        };
        assert_eq!(read(&mut reader).unwrap(), request("POST", "/a", "abc"));
        assert_eq!(read(&mut reader).unwrap(), request("GET", "/b", ""));
        assert_eq!(read(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_function_that_asks_is_heard_and_one_that_fails_too() {
        let api = RuntimeApi::open().unwrap();
        let mut stream = TcpStream::connect(api.address).unwrap();
        let failed = "POST /2018-06-01/runtime/init/error HTTP/1.1\r\ncontent-length: 3\r\n\r\nbad";
        stream.write_all(failed.as_bytes()).unwrap();
        assert_eq!(api.wait(SOON), Some(Asked::Failed("bad".to_owned())));
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        assert_eq!(answer, "HTTP/1.1 202 Accepted\r\n");
        let before = Instant::now();
        stream.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(api.wait(SOON), Some(Asked::Next(at)) if at >= before));
        assert_eq!(api.wait(Duration::ZERO), None);
    }
}
