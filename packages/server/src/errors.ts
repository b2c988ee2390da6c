/**
 * Every error of the server. `message` is public: it may reach users and must hold no secret, path or internal name;
 * `cause` is for the log only. The dialects in `api/` turn `code` and `status` into their wire shapes.
 */
export class GangwayError extends Error {
	/** Stable, for programs. */
	readonly code: string;
	/** The HTTP status that says the same. */
	readonly status: number;

	constructor(code: string, status: number, message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = new.target.name;
		this.code = code;
		this.status = status;
	}
}

/** Bad input. The message names the field and what is allowed. */
export class InvalidError extends GangwayError {
	readonly field: string;
	constructor(field: string, message: string, options?: ErrorOptions) {
		super("bad_request", 400, `${field}: ${message}`, options);
		this.field = field;
	}
}

/** No credential, or one that is not valid. */
export class UnauthorizedError extends GangwayError {
	constructor(message = "a valid API key is required: Authorization: Bearer <key>") {
		super("unauthorized", 401, message);
	}
}

export class ForbiddenError extends GangwayError {
	constructor(message: string) {
		super("forbidden", 403, message);
	}
}

export class NotFoundError extends GangwayError {
	constructor(what: string) {
		super("not_found", 404, `${what} not found`);
	}
}

/** The thing is in a state that does not allow this; repeating the call does not help. */
export class ConflictError extends GangwayError {
	constructor(message: string) {
		super("conflict", 409, message);
	}
}

/** Not now; later perhaps. */
export class UnavailableError extends GangwayError {
	constructor(message: string, options?: ErrorOptions) {
		super("unavailable", 503, message, options);
	}
}

/** A setting that stops the start: one line with the key, its value and what is allowed. */
export class ConfigError extends GangwayError {
	constructor(message: string) {
		super("config", 500, message);
	}
}

/** The same, found where a setting is used: that it came by a flag or a variable is not known there. See `nameAsGiven`. */
export class SettingError extends ConfigError {
	/** Its key in the file, `tls_port`. */
	readonly setting: string;
	readonly problem: string;
	constructor(setting: string, problem: string) {
		super(`${setting}: ${problem}`);
		this.setting = setting;
		this.problem = problem;
	}
}

/** The runtime could not do what was asked; `message` says what, `cause` why. */
export class RuntimeError extends GangwayError {
	constructor(
		code: "unsupported_host" | "already_running" | "not_created" | "failed",
		message: string,
		options?: ErrorOptions,
	) {
		super(code, 500, message, options);
	}
}

/** Stored data that cannot be read: a wrong master key, a damaged row, a newer schema. */
export class StoreError extends GangwayError {
	constructor(
		code: "wrong_master_key" | "damaged" | "newer_schema" | "locked",
		message: string,
		options?: ErrorOptions,
	) {
		super(code, 500, message, options);
	}
}
