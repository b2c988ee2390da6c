/** A request whose decision may take long: tells whoever decides that the client has gone meanwhile. */
export abstract class AwaitedRequest {
	private left = false;
	private listeners: (() => void)[] | undefined;

	onGone(listener: () => void): void {
		if (this.left) {
			listener();
			return;
		}
		this.listeners ??= [];
		this.listeners.push(listener);
	}

	/** The client has gone, and no decision is there yet. */
	gone(unexpected: (error: unknown) => void): void {
		this.left = true;
		const { listeners = [] } = this;
		this.listeners = undefined;
		for (const listener of listeners) {
			try {
				listener();
			} catch (error) {
				unexpected(error);
			}
		}
	}
}
