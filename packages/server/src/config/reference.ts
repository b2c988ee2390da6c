import { fileKey, flag, settingKeys, settings, variable } from "./settings.js";

/** One setting in words, for flags, help texts and docs. */
export interface SettingDescription {
	/** Key of `Config` and of `Flags`. */
	readonly key: string;
	/** `tls_port` */
	readonly fileKey: string;
	/** `GANGWAY_TLS_PORT` */
	readonly variable: string;
	/** `--tls-port` */
	readonly flag: string;
	/** What stands for the value in help texts; undefined for a switch. */
	readonly placeholder: string | undefined;
	readonly allowed: string;
	readonly default: string;
	readonly unit: string | undefined;
	readonly about: string;
}

/** All settings, in the order of their table. */
export function describeSettings(): readonly SettingDescription[] {
	return settingKeys.map((key) => {
		const { kind, unit, about, defaultText } = settings[key];
		const names = { key, fileKey: fileKey(key), variable: variable(key), flag: flag(key) };
		return { ...names, placeholder: kind.placeholder, allowed: kind.allowed, default: defaultText, unit, about };
	});
}

/** The settings as a Markdown table, for docs/configuration.md. */
export function settingsReference(): string {
	const rows = describeSettings().map((setting) => {
		const unit = setting.unit === undefined ? "" : `, in ${setting.unit}`;
		const names = [setting.fileKey, setting.variable, setting.flag].map((name) => `\`${name}\``);
		return [...names, `${setting.allowed}${unit}`, setting.default, setting.about];
	});
	const head = ["Key", "Variable", "Flag", "Allowed", "Default", "What it does"];
	const table = [head, head.map(() => "---"), ...rows];
	return `${table.map((cells) => `| ${cells.map(escapeCell).join(" | ")} |`).join("\n")}\n`;
}

function escapeCell(text: string): string {
	return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
