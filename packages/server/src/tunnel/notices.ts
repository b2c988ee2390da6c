/** What the tunnel itself has to say to a client: texts only. `pages.ts` gives them their form. */
export interface Notice {
	readonly status: number;
	/** Stable, for programs. */
	readonly code: string;
	readonly title: string;
	readonly message: string;
	/** Trying again later helps: `Retry-After`, and a page that reloads itself. */
	readonly retry?: boolean;
	/** More fields of the response. */
	readonly headers?: readonly (readonly [name: string, value: string])[];
}

export const notFound: Notice = {
	status: 404,
	code: "tunnel_not_found",
	title: "No tunnel here",
	message: "There is no tunnel at this address. It may have been removed, or its devbox has been shut down.",
};

export const unauthorized: Notice = {
	status: 401,
	code: "unauthorized",
	title: "This tunnel is private",
	message:
		"Send the tunnel's token with each request: Authorization: Bearer <token>, or X-Runloop-Tunnel-Authorization: Bearer <token>.",
	headers: [["www-authenticate", 'Bearer realm="gangway"']],
};

export const sshPort: Notice = {
	status: 403,
	code: "port_not_allowed",
	title: "Port 22 is for SSH",
	message: "Port 22 of a devbox is its SSH server. Connect to it with ssh; tunnels serve every other port.",
};

export const suspended: Notice = {
	status: 503,
	code: "devbox_suspended",
	title: "This devbox is suspended",
	message: "The devbox is suspended, and its tunnel does not wake it. Resume the devbox, then try again.",
};

export const starting: Notice = {
	status: 503,
	code: "devbox_starting",
	title: "The devbox is starting",
	message: "The devbox is starting. Try again in a few seconds.",
	retry: true,
};

export function portStarting(port: number): Notice {
	return {
		status: 503,
		code: "port_starting",
		title: "Waiting for the server",
		message: `The devbox has just started, and nothing answers on port ${port} yet. Try again in a few seconds.`,
		retry: true,
	};
}

export function nothingListens(port: number): Notice {
	return {
		status: 502,
		code: "nothing_listening",
		title: `Nothing is listening on port ${port}`,
		message: `No server accepts connections on port ${port} of this devbox. Start it, and bind it to 0.0.0.0: a server on localhost or 127.0.0.1 cannot be reached through a tunnel.`,
	};
}

export const unreachable: Notice = {
	status: 502,
	code: "devbox_unreachable",
	title: "The devbox cannot be reached",
	message: "The devbox could not be reached. It may be about to suspend; try again.",
};

export function connectTimeout(port: number): Notice {
	return {
		status: 504,
		code: "connect_timeout",
		title: "The devbox does not answer",
		message: `Connecting to port ${port} of the devbox took too long.`,
	};
}

export function responseTimeout(port: number): Notice {
	return {
		status: 504,
		code: "response_timeout",
		title: "The server does not answer",
		message: `The server on port ${port} of the devbox took too long to answer.`,
	};
}

export function badResponse(port: number): Notice {
	return {
		status: 502,
		code: "bad_response",
		title: "The answer could not be read",
		message: `The server on port ${port} of the devbox sent something that is not a valid HTTP response.`,
	};
}

export function closed(port: number): Notice {
	return {
		status: 502,
		code: "connection_closed",
		title: "The server hung up",
		message: `The server on port ${port} of the devbox closed the connection before it answered.`,
	};
}
