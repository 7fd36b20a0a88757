//! http and https probes: one GET, then status and body are compared.

use crate::config::form;
use crate::config::url::HttpUrl;
use crate::model::{Deadline, ProbeCause};
use crate::probe::net::{self, Timed};
use crate::probe::{Fail, answer, tls};
use std::io::{Read, Write};
use std::sync::Arc;

/// An http or https probe, its pattern compiled and its authorities read.
pub(crate) struct Web {
    url: HttpUrl,
    status: Vec<u16>,
    body: Option<regex::bytes::Regex>,
    verify: bool,
    /// Made at the first need; made anew after a failure, in case the host's authorities changed.
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Web {
    pub fn new(url: &str, status: &[u16], body: Option<&str>, verify: bool) -> Result<Web, Fail> {
        let cannot = |what: &str, why: String| Fail::new(ProbeCause::CannotProbe, format!("{what} {why}"));
        Ok(Web {
            url: HttpUrl::parse(url).map_err(|e| cannot("url", e))?,
            status: status.to_vec(),
            body: body.map(form::regex).transpose().map_err(|e| cannot("body", e))?,
            verify,
            tls: None,
        })
    }

    pub fn look(&mut self, deadline: Deadline) -> Result<(), Fail> {
        let stream = Timed::new(net::connect(&self.url.host, self.url.port, deadline)?, deadline);
        if !self.url.tls {
            return self.ask(stream);
        }
        let config = match &self.tls {
            Some(config) => config.clone(),
            None => self.tls.insert(tls::config(self.verify)?).clone(),
        };
        match tls::open(config, &self.url.host, stream) {
            Ok(stream) => self.ask(stream),
            Err(fail) => {
                self.tls = None;
                Err(fail)
            }
        }
    }

    fn ask(&self, mut stream: impl Read + Write) -> Result<(), Fail> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lastgasp/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.url.path,
            self.url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
        sent.map_err(|e| net::classify(&e, "send the request"))?;
        // Without a pattern the body is not read: a stream of events has no end.
        let answer = answer::read(&mut stream, |status| self.body.is_some() && self.accepts(status))?;
        if !self.accepts(answer.status) {
            let want: Vec<String> = self.status.iter().map(u16::to_string).collect();
            let want = if want.is_empty() { "200 to 399".to_owned() } else { want.join(", ") };
            return Err(Fail::new(ProbeCause::WrongStatus, format!("status {}, want {want}", answer.status)));
        }
        match &self.body {
            Some(pattern) if !pattern.is_match(&answer.body) => {
                let start = &answer.body[..answer.body.len().min(80)];
                let detail = format!(
                    "{} bytes of body do not match {:?}; they begin with {:?}",
                    answer.body.len(),
                    pattern.as_str(),
                    String::from_utf8_lossy(start),
                );
                Err(Fail::new(ProbeCause::WrongBody, detail))
            }
            _ => Ok(()),
        }
    }

    fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) }
    }
}
