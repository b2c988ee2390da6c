/** Responses that Gangway gives by itself. */
import { STATUS_CODES } from "node:http";
import type { LocalResponse } from "../decision.js";
import { fieldLines } from "./codec/rewrite.js";

/** The response to a request that cannot be handled, where `EngineOptions.refuse` does not say. */
export function refusal(status: number): LocalResponse {
	return {
		kind: "respond",
		status,
		headers: [["Content-Type", "text/plain; charset=utf-8"]],
		body: `${STATUS_CODES[status]}\n`,
	};
}

let dateText = "";
let dateSecond = 0;

/** RFC 9110 §6.6.1; formatted once a second. */
export function httpDate(): string {
	const now = Date.now();
	const second = Math.floor(now / 1000);
	if (second !== dateSecond) {
		dateSecond = second;
		dateText = new Date(now).toUTCString();
	}
	return dateText;
}

export function allowsBody(method: string, status: number): boolean {
	return method !== "HEAD" && status >= 200 && status !== 204 && status !== 304;
}

/** The whole HTTP/1.1 message. `connection` is a whole field line or nothing. */
export function localMessage(response: LocalResponse, method: string, connection: string): Buffer {
	const { status, headers, body } = response;
	const length = status === 204 || status < 200 ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
	const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nDate: ${httpDate()}\r\n${fieldLines(headers)}${length}${connection}\r\n`;
	const bytes = Buffer.from(head, "latin1");
	return allowsBody(method, status) ? Buffer.concat([bytes, Buffer.from(body)]) : bytes;
}
