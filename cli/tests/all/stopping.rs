//! Backups that are stopped while they are at work: by Ctrl-C, by another process, by a kill.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a helper of a test cannot do ends the test")]

use crate::support::{Place, Ran, tree};
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};

/// A place with a table whose endpoint takes calls and does not answer: a backup of it is at work until that ends.
struct Stuck {
    place: Place,
    endpoint: TcpListener,
}

impl Stuck {
    fn new() -> Self {
        let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::with_data();
        let url = format!("http://{}", endpoint.local_addr().unwrap());
        place.write(
            "table.yaml",
            format!(
                "resources:\n- name: orders\n  source: {{ kind: dynamodb, table: orders, endpoint: '{url}', region: eu-central-1 }}\n"
            ),
        );
        place.run(&["apply", "-f", "table.yaml"]).text(0);
        Self { place, endpoint }
    }

    /// Starts a backup, and returns once it is at work, with its id.
    fn start(&self) -> (Child, TcpStream, String) {
        let child = self.place.spawn(&["backup", "orders"]);
        let call = self.endpoint.accept().unwrap().0;
        let running = tree(&self.place.home().join("executions"));
        let [(name, _)] = running.as_slice() else { panic!("{running:?}") };
        (child, call, name.trim_end_matches(".json").to_owned())
    }

    #[track_caller]
    fn ended_as(&self, id: &str, status: &str) {
        let shown = self.place.json(&["show", id]).answer(0);
        assert_eq!(shown["status"], status);
        assert!(tree(&self.place.home().join("staging")).is_empty());
        assert_eq!(self.place.json(&["backups", "orders"]).answer(0)["backups"][0]["status"], status);
        self.place.backup("site");
    }
}

#[track_caller]
fn is_cancelled(ran: &Ran, id: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("error[Cancelled]: backup {id} was cancelled")), "{}", ran.stderr);
}

#[test]
fn the_first_ctrl_c_cancels_and_waits() {
    let stuck = Stuck::new();
    let (mut child, call, id) = stuck.start();
    assert!(
        Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success()
    );
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert_eq!(told, "cancelling; once more ends the process at once\n");
    let Stuck { place, endpoint } = stuck;
    drop((call, endpoint));
    let mut ran = Ran::of(child.wait_with_output().unwrap());
    stderr.read_to_string(&mut ran.stderr).unwrap();
    is_cancelled(&ran, &id);
    let shown = place.json(&["show", &id]).answer(0);
    assert_eq!(shown["status"], "cancelled");
    place.backup("site");
}

#[test]
fn another_process_is_refused_and_may_cancel() {
    let stuck = Stuck::new();
    let (child, call, id) = stuck.start();
    let error = stuck.place.json(&["backup", "site"]).error(2);
    assert_eq!(error["code"], "HomeInUse");
    assert!(error["message"].as_str().unwrap().contains(&child.id().to_string()), "the holder is named");
    assert_eq!(stuck.place.json(&["cancel", &id]).answer(0)["requested"], true);
    // The call fails, and what cancels is found before it is made again.
    drop(call);
    let place = stuck.place;
    drop(stuck.endpoint);
    is_cancelled(&Ran::of(child.wait_with_output().unwrap()), &id);
    assert_eq!(place.json(&["show", &id]).answer(0)["status"], "cancelled");
}

#[test]
fn a_killed_backup_is_ended_by_the_next_process() {
    let stuck = Stuck::new();
    let (mut child, _call, id) = stuck.start();
    child.kill().unwrap();
    child.wait().unwrap();
    stuck.ended_as(&id, "failed");
    let shown = stuck.place.json(&["show", &id]).answer(0);
    assert_eq!(shown["error"]["code"], "Interrupted");
}
