const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The page is in English. */
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "short" });
const date = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

/** Returns a past time relative to `now` ("5 minutes ago"), "just now" by a clock that is behind; from a week on, its date. */
export function timeAgo(time: string, now = Date.now()): string {
  const seconds = Math.min(0, (Date.parse(time) - now) / 1000);
  const size = -seconds;
  if (size < MINUTE) return "just now";
  if (size < HOUR) return relative.format(Math.round(seconds / MINUTE), "minute");
  if (size < DAY) return relative.format(Math.round(seconds / HOUR), "hour");
  if (size < 7 * DAY) return relative.format(Math.round(seconds / DAY), "day");
  return dateOf(time);
}

/** Returns when something goes on: "in 20 seconds", or "after 2:00 AM" where that is long. */
export function whenFrom(time: string, now = Date.now()): string {
  const seconds = Math.max(1, Math.ceil((Date.parse(time) - now) / 1000));
  if (seconds <= 90) return relative.format(seconds, "second");
  if (seconds < HOUR) return relative.format(Math.ceil(seconds / MINUTE), "minute");
  const at = new Date(time);
  const today = at.toDateString() === new Date(now).toDateString();
  return `after ${clock.format(at)}${today ? "" : ` on ${dateOf(time)}`}`;
}

/** Returns the date of a time, on this device's calendar. */
export function dateOf(time: string): string {
  return date.format(new Date(time));
}

/** Returns how long something took: "0.4 s", "12 s" or "2 min 5 s". */
export function durationOf(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < MINUTE ? `${whole} s` : `${Math.floor(whole / MINUTE)} min ${whole % MINUTE} s`;
}
