/** The head of a request that came over HTTP/2 (RFC 9113 §8.3), checked for what HTTP/1.1 could not carry safely. */
import type { IncomingHttpHeaders } from "node:http2";
import type { ProxyDecision, RequestInfo } from "../decision.js";
import { AwaitedRequest } from "./awaited.js";
import { AUTHORITY, CLASS, PATH, QUERY } from "./codec/chars.js";
import { isToken } from "./codec/connection.js";
import { FIRST_HOP, knownField } from "./codec/fields.js";
import { dropsFields, fieldLines } from "./codec/rewrite.js";
import type { Core } from "./core.js";
import { flatten, isSound, pairs } from "./http2-fields.js";

export interface Http2Options {
	readonly secure: boolean;
	readonly peerAddress: string;
	/** The fields as they came, name and value in turn: keeps duplicates apart. Node gives them as the fourth argument of `stream`. */
	readonly rawHeaders?: readonly string[];
}

export class Http2Request extends AwaitedRequest implements RequestInfo {
	readonly method: string;
	readonly target: string;
	readonly authority: string;
	readonly upgrade = false;
	readonly secure: boolean;
	readonly peerAddress: string;
	readonly fields: readonly (readonly [name: string, value: string])[];

	constructor(headers: IncomingHttpHeaders, options: Http2Options) {
		super();
		this.method = text(headers[":method"]);
		this.target = text(headers[":path"]);
		const host = headers.host;
		this.authority = text(headers[":authority"] ?? host);
		this.secure = options.secure;
		this.peerAddress = options.peerAddress;
		const raw = options.rawHeaders ?? flatten(headers);
		this.fields = pairs(raw).filter(([name]) => !name.startsWith(":"));
	}

	header(name: string): string | undefined {
		const values = this.fields.filter(([field]) => field === name).map(([, value]) => value);
		return values.length === 0 ? undefined : values.join(name === "cookie" ? "; " : ", ");
	}

	get expectsContinue(): boolean {
		return this.header("expect")?.toLowerCase() === "100-continue";
	}

	/** 0, or the status to refuse with. nghttp2 has checked much of this; the box must not depend on it. */
	check(core: Core): number {
		if (this.method === "CONNECT") return 501;
		if (!isToken(this.method) || !all(this.authority, AUTHORITY) || !isTarget(this.method, this.target)) return 400;
		if (this.fields.length > core.limits.headFields) return 431;
		let size = this.target.length;
		for (const [name, value] of this.fields) {
			size += name.length + value.length;
			if (!isSound(name, value)) return 400;
			// RFC 9113 §8.2.2: what concerns a connection has no place here.
			if (CONNECTION_SPECIFIC.has(name)) return 400;
			if (name === "host" && value.toLowerCase() !== this.authority.toLowerCase()) return 400;
		}
		return size > core.limits.headBytes ? 431 : 0;
	}

	/** The HTTP/1.1 head for the box. */
	forwarded(decision: ProxyDecision, framing: string): string {
		const drops = dropsFields(decision);
		let lines = drops("host") ? "" : `Host: ${this.authority}\r\n`;
		let cookies = "";
		for (const [name, value] of this.fields) {
			if (name === "host" || name === "content-length" || knownField(name) >= FIRST_HOP || drops(name)) continue;
			// RFC 9113 §8.2.3: HTTP/1.1 has one Cookie field.
			if (name === "cookie") cookies += cookies === "" ? value : `; ${value}`;
			else lines += `${name}: ${value}\r\n`;
		}
		if (cookies !== "") lines += `cookie: ${cookies}\r\n`;
		return `${this.method} ${this.target} HTTP/1.1\r\n${lines}${fieldLines(decision.set)}${framing}\r\n`;
	}
}

const CONNECTION_SPECIFIC = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

export function text(value: string | string[] | undefined): string {
	return typeof value === "string" ? value : "";
}

function all(value: string, flag: number): boolean {
	for (let i = 0; i < value.length; i++) {
		const code = value.charCodeAt(i);
		if (code > 0xff || (CLASS[code]! & flag) === 0) return false;
	}
	return value !== "";
}

function isTarget(method: string, target: string): boolean {
	if (target === "*") return method === "OPTIONS";
	const query = target.indexOf("?");
	const path = query < 0 ? target : target.slice(0, query);
	return path.startsWith("/") && all(path, PATH) && (query < 0 || all(target.slice(query), QUERY));
}
