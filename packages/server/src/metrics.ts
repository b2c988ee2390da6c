import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Audit } from "./audit/index.js";
import type { Devboxes } from "./devboxes/index.js";
import type { CertificateSource, Edge } from "./edge/index.js";
import type { Gateway, Passthrough } from "./ssh/index.js";
import type { Limiter, Tunnel } from "./tunnel/index.js";

/** What `/metrics` shows of the parts; read when asked, so that counting costs nothing in between. */
export function observe(
	registry: Registry,
	parts: {
		readonly devboxes: Devboxes;
		readonly edge: Edge;
		readonly tunnel: Tunnel;
		readonly limiter: Limiter;
		readonly passthrough: Passthrough;
		readonly gateway: Gateway;
		readonly certificates: CertificateSource;
		readonly audit: Audit;
	},
): void {
	const { devboxes, edge, tunnel, limiter, passthrough, gateway, certificates, audit } = parts;
	gauge(registry, "gangway_devboxes", "Devboxes by status", ["status"], async (set) => {
		for (const [status, count] of await devboxes.countByStatus()) set(count, { status });
	});
	gauge(registry, "gangway_edge_connections", "Open connections by kind", ["kind"], (set) => {
		for (const [kind, count] of Object.entries(edge.connections())) set(count, { kind });
	});
	gauge(registry, "gangway_edge_refused_connections_total", "Connections over the limit", [], (set) => {
		set(edge.refused);
	});
	gauge(registry, "gangway_ssh_passthrough_sessions", "Open SSH passthrough sessions", [], (set) => {
		set(passthrough.sessions);
	});
	gauge(registry, "gangway_ssh_gateway_connections", "Open connections to the SSH gateway", [], (set) => {
		set(gateway.connections);
	});
	gauge(
		registry,
		"gangway_tunnel_requests_total",
		"Tunnel requests that have ended, by outcome",
		["outcome"],
		(set) => {
			for (const [outcome, count] of Object.entries(tunnel.counts.requests)) set(count, { outcome });
		},
	);
	gauge(registry, "gangway_tunnel_refused_total", "Tunnel requests over a limit, by the limit", ["reason"], (set) => {
		for (const [reason, count] of Object.entries(limiter.refused)) set(count, { reason });
	});
	gauge(registry, "gangway_tunnel_upgrades_total", "Upgraded tunnel connections that have ended", [], (set) => {
		set(tunnel.counts.upgrades);
	});
	gauge(registry, "gangway_tunnel_live", "Tunnel requests and upgrades under way", ["kind"], (set) => {
		for (const [kind, count] of Object.entries(tunnel.counts.live)) set(count, { kind });
	});
	gauge(registry, "gangway_tunnel_upstreams", "Open connections of tunnels to devboxes", [], (set) => {
		set(tunnel.counts.upstreams);
	});
	gauge(registry, "gangway_tunnel_bytes_total", "Tunnel bytes by direction", ["direction"], (set) => {
		set(tunnel.counts.bytesIn, { direction: "in" });
		set(tunnel.counts.bytesOut, { direction: "out" });
	});
	gauge(registry, "gangway_audit_lost_total", "Audit events that are in the log only, by why", ["reason"], (set) => {
		for (const [reason, count] of Object.entries(audit.lost)) set(count, { reason });
	});
	gauge(registry, "gangway_certificate_expiry_seconds", "When the certificate expires, Unix time", [], (set) => {
		set(certificates.expiresAtMs / 1000);
	});
}

export function createRegistry(): Registry {
	const registry = new Registry();
	// Coarse: measured every 10 ms, as it is by default, an idle daemon would wake up a hundred times a second.
	collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
	return registry;
}

function gauge(
	registry: Registry,
	name: string,
	help: string,
	labelNames: string[],
	collect: (set: (value: number, labels?: Record<string, string>) => void) => void | Promise<void>,
): void {
	new Gauge({
		name,
		help,
		labelNames,
		registers: [registry],
		async collect() {
			this.reset();
			await collect((value, labels) => this.set(labels ?? {}, value));
		},
	});
}
