//! Sockets that a service manager holds and passes on: the test is the manager.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::frames::event_frame;
use crate::harness::{KEY, Server, request, wait_for};
use crate::rows::column;

/// `tell serve` with two sockets under these names. They come as standard input and output, the only
/// descriptors that the standard library passes, and the shell moves them to where they belong.
fn serve(server: &Server, names: &str, sockets: [OwnedFd; 2], args: &[&str]) -> Command {
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null
        export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=\"$1\"
        shift
        exec \"$@\"";
    let [first, second] = sockets;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh", names])
        .args([env!("CARGO_BIN_EXE_tell"), "serve"])
        .args(["--syslog-tcp", "off", "--syslog-udp", "off"])
        .args(["--metrics", "off"])
        .args(args)
        .current_dir(server.directory())
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second))
        .stderr(Stdio::null());
    command
}

/// The directory of a server that does not run.
fn stopped() -> Server {
    let mut server = Server::new();
    assert!(server.stop().success());
    server
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn duplicate(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

/// A server that ends with the test.
struct Serving(Child);

impl Serving {
    fn stop(&mut self) {
        let id = self.0.id().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(kill.unwrap().success());
        let status = wait_for("the server to end", || self.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn post(address: SocketAddr, name: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("no connection attempt is refused");
    let bearer = format!("Bearer {KEY}");
    let headers = [("Authorization", bearer.as_str()), ("Connection", "close")];
    let line = format!("{{\"event\":\"{name}\"}}\n");
    request(&mut stream, "POST", "/v1/events", &headers, line.as_bytes()).status
}

#[test]
fn a_restart_that_hands_over_the_sockets_refuses_no_connection_and_answers_every_request() {
    const RESTARTS: usize = 3;
    const POSTERS: usize = 4;
    const POSTS_BETWEEN: usize = 40;
    let server = stopped();
    let ((http, http_at), (tcp, tcp_at)) = (listen(), listen());
    let start = || {
        let sockets = [duplicate(&http), duplicate(&tcp)];
        // The configured addresses are those of others: they are not bound.
        Serving(serve(&server, "http:tcp", sockets, &[]).spawn().unwrap())
    };
    let (done, posted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let connected = AtomicUsize::new(0);
    let mut serving = start();
    std::thread::scope(|scope| {
        for poster in 0..POSTERS {
            let (done, posted) = (&done, &posted);
            scope.spawn(move || {
                let mut n = 0;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(post(http_at, &format!("{poster}-{n}")), 202);
                    n += 1;
                    posted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for address in [http_at, tcp_at] {
                    TcpStream::connect(address).expect("no connection attempt is refused");
                }
                connected.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let finish = Finish(&done);
        for restart in 0..=RESTARTS {
            let goal = posted.load(Ordering::Relaxed) + POSTS_BETWEEN;
            wait_for("requests to be answered", || {
                (posted.load(Ordering::Relaxed) >= goal).then_some(())
            });
            if restart < RESTARTS {
                serving.stop();
                serving = start();
            }
        }
        drop(finish);
    });
    assert!(connected.load(Ordering::Relaxed) > RESTARTS);
    // One that connects while nobody runs is served by the next.
    serving.stop();
    let mut early = TcpStream::connect(tcp_at).unwrap();
    std::io::Write::write_all(&mut early, &event_frame(KEY, "early")).unwrap();
    drop(early);
    serving = start();
    let rows = server.wait_for_rows(1, "events", posted.load(Ordering::Relaxed) + 1);
    serving.stop();
    let mut names = column(&rows, "name");
    assert!(names.contains(&"early"));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        (names.len(), all),
        (all, posted.load(Ordering::Relaxed) + 1)
    );
}

/// Ends the threads also when the test fails.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn refusal(names: &str, sockets: [OwnedFd; 2], args: &[&str]) -> String {
    let server = stopped();
    let mut child = serve(&server, names, sockets, args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = wait_for("the server to refuse", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    let Output { stderr, .. } = child.wait_with_output().unwrap();
    String::from_utf8(stderr).unwrap()
}

#[test]
fn a_passed_socket_that_nobody_would_serve_is_an_error_that_says_what_to_do() {
    let sockets = || [duplicate(&listen().0), duplicate(&listen().0)];
    let said = refusal("http:tell.socket", sockets(), &[]);
    assert!(said.contains("\"tell.socket\""), "{said}");
    assert!(said.contains("FileDescriptorName="), "{said}");

    let said = refusal("http:tcp", sockets(), &["--tcp", "off"]);
    assert!(said.contains("passed as tcp, but tcp is off"), "{said}");

    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let said = refusal("http:tcp", [datagrams.into(), duplicate(&listen().0)], &[]);
    assert!(said.contains("passed as http cannot be used"), "{said}");

    let (listener, address) = listen();
    let connection = TcpStream::connect(address).unwrap();
    let said = refusal("http:tcp", [connection.into(), duplicate(&listener)], &[]);
    assert!(said.contains("Accept=no"), "{said}");
}
