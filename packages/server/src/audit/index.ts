export { Audit, type AuditOptions, type AuditQuery } from "./audit.js";
export {
	type AuditAction,
	type AuditActor,
	type AuditDetails,
	type AuditEvent,
	type AuditOutcome,
	type AuditSink,
	auditOutcomes,
} from "./event.js";
export type { AuditRecord } from "./record.js";
