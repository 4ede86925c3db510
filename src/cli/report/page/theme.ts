/** The colors of the charts, in light and in dark mode. Print is light. */

/** Red, green and blue, up to 255. */
export type Color = readonly [red: number, green: number, blue: number];

export interface Theme {
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  /** Few to many connects. */
  readonly heat: readonly Color[];
  /** The lines of the percentiles. */
  readonly lines: { readonly [name: string]: string };
  readonly bars: string;
  /** The results of connects that were not established, in turn. Distinct also for color-blind readers. */
  readonly results: readonly string[];
}

/** The steps of the heat map between two colors. */
const STEPS = 6;

const LIGHT: Theme = {
  ...{ text: '#1b1f24', muted: '#57606a', grid: '#e3e7eb', bars: '#8fb4d9' },
  heat: gradient('#b9d5ec', '#86b9dd', '#4a97c9', '#1765ab', '#083370'),
  lines: { p50: '#0b6fb8', p90: '#b25d00', p99: '#b0125b', max: '#6e7781' },
  results: ['#c8500a', '#7a3fa0', '#0b6fb8', '#a67c00', '#1a7f4b', '#6e7781'],
};
const DARK: Theme = {
  ...{ text: '#e6e9ec', muted: '#9aa5b1', grid: '#28313a', bars: '#4f7fae' },
  heat: gradient('#1b4a70', '#1f6f96', '#2a9d9c', '#8fd17f', '#fbf08a'),
  lines: { p50: '#5cb8ff', p90: '#f5a742', p99: '#ff7eb3', max: '#9aa5b1' },
  results: ['#ff8a4c', '#c39af0', '#5cb8ff', '#e6c34a', '#5fd08f', '#9aa5b1'],
};

function gradient(...colors: readonly string[]): Color[] {
  const parsed = colors.map(
    (color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)) as unknown as Color,
  );
  const steps = parsed.slice(1).flatMap((to, i) => {
    const from = parsed[i] as Color;
    return Array.from(
      { length: STEPS },
      (_, step) =>
        from.map((value, channel) =>
          Math.round(value + (step / STEPS) * ((to[channel] ?? 0) - value)),
        ) as unknown as Color,
    );
  });
  return [...steps, parsed.at(-1) as Color];
}

/** Calls `onChange` with the theme in use, when it changes, and before and after printing. */
export function watchTheme(onChange: (theme: Theme, isPrint: boolean) => void): void {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const print = matchMedia('print');
  const update = () => onChange(dark.matches && !print.matches ? DARK : LIGHT, print.matches);
  dark.addEventListener('change', update);
  print.addEventListener('change', update);
  addEventListener('beforeprint', () => onChange(LIGHT, true));
  addEventListener('afterprint', update);
  update();
}
