//! Datagrams that the kernel dropped because the receive buffer of a socket was full.
//!
//! The kernel counts them for each socket and shows the counts in `/proc/net/udp` and `/proc/net/udp6`. It
//! would also send them along with datagrams (SO_RXQ_OVFL), but then the last drops of a flood stay unknown
//! until something else comes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use rustix::fs::fstat;

use crate::meters::DatagramMeters;

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// The sockets whose drops are counted.
#[derive(Debug, Default)]
pub struct KernelDrops {
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Listener {
    inodes: Vec<u64>,
    meters: DatagramMeters,
}

impl KernelDrops {
    /// Counts for the sockets of one more listener.
    pub fn watch(&mut self, sockets: &[UdpSocket], meters: DatagramMeters) -> io::Result<()> {
        let inodes = sockets
            .iter()
            .map(|socket| Ok(fstat(socket)?.st_ino))
            .collect::<io::Result<_>>()?;
        self.listeners.push(Listener { inodes, meters });
        Ok(())
    }

    /// Reads the kernel's counts and passes them on.
    pub fn count(&self) {
        if self.listeners.is_empty() {
            return;
        }
        let tables = TABLES.map(|table| fs::read_to_string(Path::new(table)).unwrap_or_default());
        let counts = counts(&tables);
        for listener in &self.listeners {
            let drops = listener.inodes.iter().filter_map(|inode| counts.get(inode));
            listener.meters.dropped_by_kernel(drops.sum());
        }
    }
}

/// The drops of each socket, by its inode. A table that changes while it is read may show a socket twice, which is
/// counted once.
fn counts(tables: &[String]) -> HashMap<u64, u64> {
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(row)
        .collect()
}

/// Inode and drops of one socket (Documentation/networking/proc_net_tcp.rst; `drops` is the last column of
/// the tables for UDP). The heading is no such row.
fn row(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let inode = columns.nth(9)?.parse().ok()?;
    let drops = columns.next_back()?.parse().ok()?;
    Some((inode, drops))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inode_and_drops_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode ref pointer drops             \n \
                     4191: 0100007F:99D3 00000000:0000 07 00000000:00000000 00:00000000 00000000  \
                     1000        0 31567 2 00000000ee938f36 12       \n";
        let rows: Vec<_> = table.lines().map(row).collect();
        assert_eq!(rows, [None, Some((31567, 12))]);
    }

    #[test]
    fn a_socket_that_a_table_shows_twice_is_counted_once() {
        let of =
            |inode: u64, drops: u64| format!("1: a b 07 0:0 00:0 0 1000 0 {inode} 2 0 {drops}\n");
        let tables = [of(7, 5) + &of(8, 109) + &of(8, 109), of(9, 1)];
        assert_eq!(counts(&tables), HashMap::from([(7, 5), (8, 109), (9, 1)]));
    }
}
