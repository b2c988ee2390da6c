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
		"It opens with its token. A browser signs in; a program sends it with each request, as Authorization: Bearer <token> or X-Runloop-Tunnel-Authorization: Bearer <token>.",
	headers: [["www-authenticate", 'Bearer realm="gangway"']],
};

export const wrongToken: Notice = {
	...unauthorized,
	code: "wrong_token",
	title: "That is not the token",
	message: "This is not the token of this tunnel, or no longer. Copy it again from where the tunnel was made.",
};

export const endedLink: Notice = {
	...unauthorized,
	code: "share_link_ended",
	title: "This link does not open anything",
	message:
		"The share link has expired, was revoked, or is for another address. Ask for a new one, or sign in with the tunnel's token.",
};

/** @param parameter its name in the query. */
export function credentialInUrl(parameter: string): Notice {
	return {
		status: 400,
		code: "credential_in_url",
		title: "This credential is for pages",
		message: `${parameter} in a URL is for opening a page: GET it, and go on with the cookie that it sets. Programs send the token in a header field.`,
	};
}

export const foreignPage: Notice = {
	status: 403,
	code: "origin_not_allowed",
	title: "This request comes from another page",
	message:
		"With a signed-in browser, only pages of this tunnel may embed what is here, open a WebSocket, or send requests that change something. Others need an origin that is in the tunnel's cors_origins, or the token in a header field.",
};

export const signIn: Notice = {
	status: 200,
	code: "sign_in",
	title: "Sign in to this tunnel",
	message: "This tunnel is private. Its token lets this browser in, for a week.",
};

export const signOut: Notice = {
	status: 200,
	code: "sign_out",
	title: "Sign out of this tunnel",
	message: "This browser will need the tunnel's token again.",
};

export const notAllowed: Notice = {
	status: 405,
	code: "method_not_allowed",
	title: "This is a page for signing in",
	message: "This path takes GET and POST.",
	headers: [["allow", "GET, HEAD, POST"]],
};

export const tooManyOfClient: Notice = {
	status: 429,
	code: "too_many_requests",
	title: "Too many requests",
	message: "Your address has too many requests under way, or sends them too fast. Try again in a few seconds.",
	retry: true,
};

export const tooManyOfTunnel: Notice = {
	status: 429,
	code: "too_many_requests",
	title: "This tunnel is busy",
	message: "The tunnel has too many requests under way, or they come too fast. Try again in a few seconds.",
	retry: true,
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

export const tooManyWaiting: Notice = {
	status: 503,
	code: "too_many_waiting",
	title: "Too many requests are waiting",
	message: "The devbox is starting, and too many requests are waiting for it already. Try again in a few seconds.",
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

export function nothingListensAtAll(port: number): Notice {
	return {
		status: 502,
		code: "nothing_listening",
		title: `Nothing is listening on port ${port}`,
		message: `No server accepts connections on port ${port} of this devbox, neither on its address nor on its loopback. Start it, then try again.`,
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

export const busy: Notice = {
	status: 503,
	code: "devbox_busy",
	title: "The devbox is busy",
	message: "The devbox has as many open connections as it may have. Try again in a few seconds.",
	retry: true,
};

export const tooManyConnections: Notice = {
	status: 429,
	code: "too_many_connections",
	title: "Too many connections",
	message: "Your address has as many open connections as it may have. Try again in a few seconds.",
	retry: true,
};

export const full: Notice = {
	status: 503,
	code: "too_many_connections",
	title: "Too many connections",
	message: "The server has as many open connections as it may have. Try again in a few seconds.",
	retry: true,
};

const refusals: Readonly<Record<number, Omit<Notice, "status">>> = {
	400: { code: "bad_request", title: "Bad request", message: "The request is malformed." },
	408: { code: "request_timeout", title: "Request timeout", message: "The request did not arrive in time." },
	413: { code: "body_too_large", title: "Body too large", message: "The request body is too large." },
	421: { code: "misdirected_request", title: "Wrong connection", message: "This connection does not serve that host." },
	431: {
		code: "head_too_large",
		title: "Header fields too large",
		message: "The request's header fields are too large.",
	},
	501: {
		code: "not_implemented",
		title: "Not supported",
		message: "The request uses a method or a coding that is not supported here.",
	},
	505: {
		code: "version_not_supported",
		title: "HTTP version not supported",
		message: "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are supported.",
	},
};

const unexpected = {
	code: "internal_error",
	title: "Something went wrong",
	message: "The request could not be handled.",
};

/** Why a request cannot be handled at all. */
export function refused(status: number): Notice {
	return { status, ...(refusals[status] ?? unexpected) };
}
