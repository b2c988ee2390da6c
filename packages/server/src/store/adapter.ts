import type { Dialect } from "kysely";

/** What differs between databases, by name. Code asks for the capability, never for the database. */
export interface DatabaseAdapter {
	readonly name: string;
	/** Several daemons may use one database at a time. Where false, the store holds a lock for the life of the process. */
	readonly supportsSeveralDaemons: boolean;
	/** Opened by the first query, closed by `Kysely.destroy`. */
	readonly dialect: Dialect;
	/** The database's own word for "this is not a database" or "its pages do not add up". */
	isDamage(cause: unknown): boolean;
	/** ... and for "I cannot get at it": no right, no space, a failing disk. The result says which; undefined when it is something else. */
	accessProblem(cause: unknown): string | undefined;
}
