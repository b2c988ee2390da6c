/** Tunnels and their links, from and to the rows of the store. */
import type { TunnelRow } from "../store/devboxes.js";
import type { Seal } from "../store/index.js";
import type { ShareLinkRow } from "../store/share-links.js";
import type { ShareLink, Tunnel } from "./devbox.js";

export function tunnelRow(seal: Seal, devboxId: string, tunnel: Tunnel): TunnelRow {
	return {
		devbox_id: devboxId,
		key: tunnel.key,
		auth_mode: tunnel.authMode,
		token_sealed: tunnel.token === null ? null : seal.seal(tunnel.token, tokenPlace(devboxId)),
		http_keep_alive: Number(tunnel.httpKeepAlive),
		wake_on_http: Number(tunnel.wakeOnHttp),
		created_at_ms: tunnel.createdAtMs,
		wake_mode: tunnel.wakeMode,
		cors_origins: JSON.stringify(tunnel.corsOrigins),
		loopback_ports: JSON.stringify(tunnel.loopbackPorts),
		port_rules: JSON.stringify(tunnel.portRules),
		generation: tunnel.generation,
	};
}

export function toTunnel(seal: Seal, row: TunnelRow, shareLinks: readonly ShareLinkRow[]): Tunnel {
	return {
		key: row.key,
		authMode: row.auth_mode,
		token: row.token_sealed === null ? null : seal.open(row.token_sealed, tokenPlace(row.devbox_id)),
		httpKeepAlive: row.http_keep_alive === 1,
		wakeOnHttp: row.wake_on_http === 1,
		wakeMode: row.wake_mode,
		corsOrigins: JSON.parse(row.cors_origins),
		loopbackPorts: JSON.parse(row.loopback_ports),
		portRules: JSON.parse(row.port_rules),
		generation: row.generation,
		createdAtMs: row.created_at_ms,
		shareLinks: shareLinks.map(toShareLink),
	};
}

function toShareLink(row: ShareLinkRow): ShareLink {
	return {
		id: row.id,
		port: row.port,
		path: row.path,
		createdAtMs: row.created_at_ms,
		expiresAtMs: row.expires_at_ms,
	};
}

function tokenPlace(devboxId: string) {
	return { table: "tunnels", column: "token_sealed", row: devboxId };
}
