//! Opens the listeners that the configuration asks for.

use std::fmt::Write;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use rustls::ServerConfig;
use tokio::sync::Semaphore;

use crate::control::config::{Config, Listener};
use crate::control::tls::TlsReload;
use crate::ingest::BoundListener;
use crate::listen::syslog::Bound;
use crate::listen::syslog_udp::drops::KernelDrops;
use crate::listen::{
    Entrance, ListenerContext, ReceiptZone, Slot, Stream, accept, http, syslog_tcp, syslog_udp, tcp,
};
use crate::meters::DatagramMeters;
use crate::network::is_loopback;
use crate::origin::{KeyId, Source};
use crate::server::error::ServeError;
use crate::server::inherited::Inherited;
use crate::server::supervise::{Need, Supervisor};

/// A listener with its certificate, read.
#[derive(Debug)]
pub struct Secured {
    listener: Listener,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
}

/// Reads the certificates of all listeners, before anything is bound.
pub fn read_tls(config: &Config) -> Result<(Vec<Secured>, TlsReload), ServeError> {
    let mut reload = TlsReload::default();
    let mut listeners = Vec::new();
    for listener in config.listeners.iter().cloned() {
        let alpn = match listener.source {
            Source::Http => http::ALPN,
            // RFC 5425 and the SDKs' frames have no name to agree on.
            Source::Tcp | Source::SyslogTcp | Source::SyslogUdp => &[],
        };
        let tls = match &listener.tls {
            None => None,
            Some(files) => Some(reload.add(files, alpn).map_err(|fault| ServeError::Tls {
                setting: listener.setting,
                fault,
            })?),
        };
        listeners.push(Secured { listener, tls });
    }
    Ok((listeners, reload))
}

/// Where the server listens.
#[derive(Debug, Default)]
pub struct Listening {
    addresses: Vec<(Source, SocketAddr)>,
    plain_http: Option<SocketAddr>,
    udp_drops: Arc<KernelDrops>,
}

impl Listening {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Source, SocketAddr)> {
        self.addresses.iter().copied()
    }

    /// The first that takes HTTP in the clear from whoever connects.
    pub const fn plain_http(&self) -> Option<SocketAddr> {
        self.plain_http
    }

    /// What the kernel drops of UDP.
    pub fn udp_drops(&self) -> Arc<KernelDrops> {
        Arc::clone(&self.udp_drops)
    }

    /// The addresses of one kind, `off` where there is none.
    pub fn of(&self, source: Source) -> String {
        let mut text = String::new();
        for (_, address) in self.addresses.iter().filter(|(of, _)| *of == source) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}{address}");
        }
        if text.is_empty() {
            return "off".to_owned();
        }
        text
    }
}

/// Binds the listeners that no socket was passed for, those for UDP with so many sockets each, and starts to
/// serve them. `timezone` is that of syslog times without one, for listeners that say none.
pub fn open(
    listeners: Vec<Secured>,
    inherited: &mut Inherited,
    udp_sockets: usize,
    timezone: &TimeZone,
    context: &ListenerContext,
    parts: &Supervisor,
) -> Result<Listening, ServeError> {
    let mut addresses = Vec::new();
    let mut plain_http = None;
    let mut udp_drops = KernelDrops::default();
    for Secured { listener, tls } in listeners {
        let is_plain_http =
            listener.source == Source::Http && tls.is_none() && !listener.proxy_protocol;
        let context = enter_by(&listener, tls, timezone, context.clone());
        let bound = match listener.source {
            Source::Tcp => open_tcp(&listener, inherited, context, parts, tcp::serve),
            Source::Http => open_tcp(&listener, inherited, context, parts, http::serve),
            Source::SyslogTcp => open_tcp(&listener, inherited, context, parts, syslog_tcp::serve),
            Source::SyslogUdp => inherited
                .udp(listener.source.as_str(), listener.address, udp_sockets)
                .and_then(|sockets| open_udp(sockets, &context, parts, &mut udp_drops)),
        };
        let bound = bound.map_err(|error| ServeError::Listen {
            what: listener.setting,
            address: listener.address,
            error,
        })?;
        warn_in_the_clear(&listener, bound);
        if is_plain_http {
            plain_http.get_or_insert(bound);
        }
        addresses.push((listener.source, bound));
    }
    Ok(Listening {
        addresses,
        plain_http,
        udp_drops: Arc::new(udp_drops),
    })
}

fn enter_by(
    listener: &Listener,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
    timezone: &TimeZone,
    mut context: ListenerContext,
) -> ListenerContext {
    context.entrance = Arc::new(Entrance {
        tls,
        connections: listener
            .max_connections
            .map(|n| Arc::new(Semaphore::new(n))),
        proxy_protocol: listener.proxy_protocol,
        bound: listener.bound.as_ref().map(|bound| Bound {
            allow: bound.allow.clone(),
            listener: BoundListener {
                workspace: bound.workspace,
                id: KeyId::of_listener(listener.source.as_str(), listener.address, bound.workspace),
            },
        }),
        zone: ReceiptZone::new(listener.timezone.as_ref().unwrap_or(timezone).clone()),
    });
    context
}

/// The name of a listener's part.
const fn part(source: Source) -> &'static str {
    match source {
        Source::Tcp => "listener-tcp",
        Source::Http => "listener-http",
        Source::SyslogTcp => "listener-syslog-tcp",
        Source::SyslogUdp => "listener-syslog-udp",
    }
}

fn open_tcp<F>(
    listener: &Listener,
    inherited: &mut Inherited,
    context: ListenerContext,
    parts: &Supervisor,
    serve: impl Fn(Stream, SocketAddr, Slot, ListenerContext) -> F + Clone + Send + Sync + 'static,
) -> io::Result<SocketAddr>
where
    F: Future<Output = ()> + Send + 'static,
{
    let socket = inherited.tcp(listener.source.as_str(), listener.address)?;
    let bound = socket.local_addr()?;
    let tasks = context.tasks.clone();
    let accepting = accept(socket, context, listener.source, serve);
    tasks.spawn(
        parts
            .clone()
            .watch(part(listener.source), Need::Essential, accepting),
    );
    Ok(bound)
}

fn open_udp(
    (sockets, bound): (Vec<UdpSocket>, SocketAddr),
    context: &ListenerContext,
    parts: &Supervisor,
    drops: &mut KernelDrops,
) -> io::Result<SocketAddr> {
    let meters = DatagramMeters::new(bound);
    drops.watch(&sockets, meters.clone())?;
    for socket in sockets {
        let (meters, context) = (meters.clone(), context.clone());
        let tasks = context.tasks.clone();
        let receiving = tokio::task::spawn_blocking(move || {
            syslog_udp::serve(socket, meters, &context);
        });
        let received = async move {
            if let Err(ended) = receiving.await
                && let Ok(panic) = ended.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        };
        tasks.spawn(
            parts
                .clone()
                .watch(part(Source::SyslogUdp), Need::Essential, received),
        );
    }
    Ok(bound)
}

/// Keys and data that cross a network in the clear can be read on their way.
fn warn_in_the_clear(listener: &Listener, bound: SocketAddr) {
    if listener.tls.is_some() || is_loopback(bound.ip()) {
        return;
    }
    let advice = match listener.source {
        Source::Tcp => "set tls_cert and tls_key in [[listen.tcp]]",
        Source::Http => "set tls_cert and tls_key in [[listen.http]]",
        Source::SyslogTcp => "set tls_cert and tls_key in [[listen.syslog_tcp]]",
        Source::SyslogUdp => "syslog over UDP has no TLS: prefer [[listen.syslog_tcp]] with it",
    };
    tracing::warn!(
        address = %bound,
        setting = listener.setting,
        "listening without TLS on an address that others may reach: keys can be read on their way; {advice}"
    );
}
