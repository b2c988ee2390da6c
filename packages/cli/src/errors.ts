/** What ends a command, with the code that it ends with. The message is for its user. */
export class CommandError extends Error {
	readonly exitCode: number;

	constructor(exitCode: number, message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = "CommandError";
		this.exitCode = exitCode;
	}
}

/** 1 is everything else. */
export const exitCodes = { usage: 2, auth: 4, notFound: 5 } as const;
