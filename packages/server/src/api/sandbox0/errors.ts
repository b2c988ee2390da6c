/** The one place that turns errors into the Sandbox0 dialect's JSON. */
import { toWireError } from "../errors.js";

const codes: Readonly<Record<number, string>> = {
	401: "unauthorized",
	403: "forbidden",
	404: "not_found",
	409: "conflict",
	410: "gone",
	503: "unavailable",
	504: "unavailable",
};

export function toSandbox0Error(error: unknown, requestId: string) {
	const { status, headers, body } = toWireError(error, requestId);
	const code = codes[status] ?? (status < 500 ? "bad_request" : "internal_error");
	return { status, headers, body: { success: false, error: { code, message: body.message } } };
}
