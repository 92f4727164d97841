//! What a service manager is told: the test is the manager.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::harness::{KEY, SOON, Server, Setup, write_private};

/// The manager's end, under an abstract name.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(name: &str) -> Self {
        let name = format!("tell-test-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, name }
    }

    fn setup(&self) -> Setup {
        Setup::new().env("NOTIFY_SOCKET", &format!("@{}", self.name))
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("word of the server");
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    /// Reads on until something begins with this, and returns what follows it.
    fn wait_for(&self, what: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let said = self.next();
            if let Some(rest) = said.strip_prefix(what) {
                return rest.to_owned();
            }
            assert!(Instant::now() < deadline, "the server never said {what}");
        }
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_each_reload_and_the_stop() {
    let manager = Manager::new("life");
    let mut server = manager.setup().start();
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=serving");

    for _ in 0..2 {
        server.signal("HUP");
        let usec = manager.wait_for("RELOADING=1\nMONOTONIC_USEC=");
        assert!(usec.parse::<u64>().unwrap() > 0);
        assert_eq!(manager.next(), "READY=1");
    }

    write_private(&server.key_file(), &format!("{KEY}:1\nbroken\n"));
    let status = manager.wait_for("STATUS=serving, degraded: key_file: ");
    assert!(status.contains("line 2"), "{status}");
    assert!(!status.contains('\n') && !status.contains(KEY), "{status}");
    // A reload that keeps the last good keys ends as well.
    server.signal("HUP");
    manager.wait_for("RELOADING=1\n");
    manager.wait_for("READY=1");
    write_private(&server.key_file(), &format!("{KEY}:1\n"));
    manager.wait_for("STATUS=serving");

    assert!(server.stop().success());
    manager.wait_for("STOPPING=1\nSTATUS=draining");
}

#[test]
fn the_watchdog_hears_of_a_server_at_work_and_not_of_one_that_is_stopped() {
    let manager = Manager::new("watchdog");
    let timeout = Duration::from_secs(2);
    let usec = timeout.as_micros().to_string();
    let server = manager.setup().env("WATCHDOG_USEC", &usec).start();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    for _ in 0..3 {
        let since = Instant::now();
        manager.wait_for("WATCHDOG=1");
        assert!(since.elapsed() < timeout, "{:?}", since.elapsed());
    }
    server.signal("STOP");
    // What was sent before it stopped.
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.socket.set_read_timeout(Some(timeout)).unwrap();
    assert!(manager.socket.recv(&mut [0; 4096]).is_err());
    server.signal("CONT");
    manager.socket.set_read_timeout(Some(SOON)).unwrap();
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn without_a_watchdog_for_this_process_none_is_fed() {
    let manager = Manager::new("another");
    let mut server = manager
        .setup()
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=serving");
    assert!(server.stop().success());
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
}

#[test]
fn a_manager_that_is_gone_does_not_keep_the_server_from_its_work() {
    let server: Server = Setup::new()
        .env("NOTIFY_SOCKET", "/nowhere/notify")
        .env("WATCHDOG_USEC", "100000")
        .start();
    assert_eq!(server.post_events("{\"event\":\"e\"}\n").status, 202);
}
