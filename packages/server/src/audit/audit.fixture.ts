import type { AuditEvent, AuditSink } from "./event.js";

/** Nobody listens. */
export const noAudit: AuditSink = { record: () => {}, write: async () => {} };

/** Keeps what it is told. */
export function listeningAudit(): AuditSink & { readonly events: AuditEvent[] } {
	const events: AuditEvent[] = [];
	const record = (event: AuditEvent) => void events.push(event);
	return { events, record, write: async (event) => record(event) };
}
