import type { DevboxRepository } from "./repository.js";

/**
 * The next change of a devbox, or the end of the wait. Ask for it before looking at the devbox, so that no change falls
 * between the look and the wait; `cancel` when the look was enough.
 */
export function nextChange(
	repository: DevboxRepository,
	id: string,
	signal: AbortSignal,
): { readonly promise: Promise<void>; readonly cancel: () => void } {
	let cancel = () => {};
	const promise = new Promise<void>((resolve) => {
		const onChange = (changed: string) => {
			if (changed === id) cancel();
		};
		cancel = () => {
			repository.off("changed", onChange);
			signal.removeEventListener("abort", cancel);
			resolve();
		};
		repository.on("changed", onChange);
		signal.addEventListener("abort", cancel);
	});
	return { promise, cancel };
}
