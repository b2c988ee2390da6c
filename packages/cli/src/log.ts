import { destination, type Logger, pino } from "pino";

/** To stderr: JSON lines for machines, or, on a terminal, lines for people. */
export async function createLog(level: string): Promise<Logger> {
	if (!process.stderr.isTTY) return pino({ level }, destination({ fd: 2, sync: false }));
	const { default: pretty } = await import("pino-pretty");
	return pino(
		{ level },
		pretty({ destination: 2, ignore: "pid,hostname,apiKeyId", singleLine: true, translateTime: "HH:MM:ss" }),
	);
}
