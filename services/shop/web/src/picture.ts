// What the shop says of itself: the answer of /api/floor, and every push.

export interface Picture {
  at: number;
  products: { sku: string; name_en: string; name_es: string; cents: number; stock: number }[];
  orders: OrderState[];
  totals: { orders: number; packers: [string, number][]; reserved: number; confirmed: number; counted: number };
  readers: { name: string; waiting: number; paused: boolean }[];
  projection: { sequence: number; events: number; rebuilt_at: number; best: [string, number][] };
  reports: { day: string; orders: number; units: number; cents: number; short: number; made_at: number }[];
  report_due_at: number | null;
}

export interface OrderState {
  order: string;
  placed_at: number;
  units: number;
  cents: number;
  packed_by: string | null;
  short: number | null;
  confirmed: boolean;
  counted: boolean;
}

/** Of two pictures the newer one counts, however they came. */
export class Latest {
  #at = 0;

  /** Whether this one is newer than all before. */
  take(picture: Picture): boolean {
    if (picture.at <= this.#at) return false;
    this.#at = picture.at;
    return true;
  }
}
