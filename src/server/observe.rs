//! The listener for those who watch the server: `/metrics`, `/status`, `/health`, `/ready`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::control::logging;
use crate::ingest::Ingest;
use crate::limits;
use crate::listen::http::probes::{self, json, status, text};
use crate::listen::syslog_udp::drops::KernelDrops;
use crate::meters::{self, Busiest};
use crate::server::health::Health;
use crate::server::status::Status;

/// What the listener shows.
#[derive(Clone)]
pub struct Observed {
    /// The recorder's content.
    pub recorder: PrometheusHandle,
    /// Keys and journal.
    pub ingest: Arc<Ingest>,
    /// Readiness.
    pub health: Arc<Health>,
    /// What the kernel dropped.
    pub udp_drops: Arc<KernelDrops>,
    /// All of it, for people.
    pub status: Arc<Status>,
}

/// Serves until the server has drained; it answers while that goes on.
pub async fn serve(listener: TcpListener, observed: Observed, end: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits::OBSERVE_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
            continue;
        };
        let observed = observed.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request: Request<Incoming>| {
                let observed = &observed;
                async move { Ok::<_, Infallible>(observed.answer(&request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::OBSERVE_HEADER_TIMEOUT)
                .max_buf_size(limits::HTTP_BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for metrics ended");
            }
        });
    }
}

impl Observed {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => text(self.metrics(), "text/plain; version=0.0.4; charset=utf-8"),
            "/status" => json(&self.status.report().await),
            "/health" => probes::health(),
            "/ready" => probes::ready(self.health.as_ref()),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn metrics(&self) -> String {
        self.udp_drops.count();
        let journal = self.ingest.journal().status();
        meters::journal_now(journal.disk_bytes, journal.queued_bytes);
        meters::sources_now();
        meters::audit_now(self.health.audit.lost(), self.health.audit.waiting());
        meters::process_now(logging::lost_lines(), logging::panics());
        let mut text = self.recorder.render();
        Busiest::of(&self.ingest.keys().load_full()).write(&mut text);
        text
    }
}
