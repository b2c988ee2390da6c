import type { Tunnel, TunnelParams } from "./devbox.js";
import { newTunnelKey, newTunnelToken } from "./ids.js";

export function newTunnel(params: TunnelParams): Tunnel {
	return { ...params, key: newTunnelKey(), token: newToken(params), createdAtMs: Date.now() };
}

export function newToken(params: TunnelParams): string | null {
	return params.authMode === "authenticated" ? newTunnelToken() : null;
}

export function sameParams(a: TunnelParams, b: TunnelParams): boolean {
	return a.authMode === b.authMode && a.httpKeepAlive === b.httpKeepAlive && a.wakeOnHttp === b.wakeOnHttp;
}
