/** The platform's bell, as any page embeds it, and its words in Spanish. */
import { CampanaBell } from "campana-bell";
import { html, nothing } from "lit";
import { api } from "./api.ts";
import { state } from "./state.ts";

CampanaBell.addLanguage("es", (plural) => ({
  title: "Avisos",
  unread: "Sin leer",
  unreadCount: (count) => plural(count, { other: "{n} sin leer" }),
  unseenCount: (count) => plural(count, { one: "{n} nuevo", other: "{n} nuevos" }),
  noUnread: "nada sin leer",
  markAll: "Marcar todo como leído",
  close: "Cerrar",
  tabs: "Qué avisos",
  all: "Todos",
  onlyUnread: "Sin leer",
  archived: "Archivados",
  archive: "Archivar",
  unarchive: "Devolver a la lista",
  wasArchived: (title) => `Archivado: ${title}`,
  wasUnarchived: (title) => `Devuelto: ${title}`,
  mute: "Apagar el sonido",
  unmute: "Encender el sonido",
  empty: "Todo en calma",
  emptyHint: "Los avisos nuevos suenan aquí en cuanto ocurren.",
  emptyUnread: "Nada sin leer",
  emptyArchived: "Nada archivado",
  emptyTab: "Aquí no hay nada",
  loading: "Cargando…",
  unavailable: "Aún no se pudo cargar nada.",
  earlier: "Mostrar anteriores",
  justNow: "ahora mismo",
  retry: "Reintentar",
  historyFailed: "No se pudieron cargar los avisos anteriores.",
  readFailed: "No se pudo marcar como leído.",
  archiveFailed: "No se pudo mover.",
  arrived: (title) => `Aviso nuevo: ${title}`,
  arrivedMany: (count) => plural(count, { one: "{n} aviso nuevo", other: "{n} avisos nuevos" }),
  more: (count) => plural(count, { other: "y {n} más" }),
  toasts: "Avisos nuevos",
  dismiss: "Descartar",
  states: {
    idle: "Sin conexión",
    connecting: "Conectando…",
    connected: "En vivo",
    reconnecting: "Reconectando…",
    offline: "No hay red",
    error: "Desconectado",
  },
}));

const getToken = async () => (await api.connection()).token;

/** What was said to somebody who was away. Nothing if the chat has no gateway. */
export function bell() {
  const { start } = state;
  if (start?.gateway === undefined || start.person === null) return nothing;
  return html`<campana-bell user=${start.person.id} endpoint=${start.edge} api-base=${start.gateway} tabs="all"
    .getToken=${getToken} @campana-select=${follow}></campana-bell>`;
}

/** A link into this page changes the room and loads nothing anew. */
function follow(event: CustomEvent<{ notification: { url: string | null } }>): void {
  const { url } = event.detail.notification;
  if (url === null || !URL.canParse(url)) return;
  event.preventDefault();
  location.hash = new URL(url).hash;
}

/** The words of a living bell follow the page's language when they are asked to. */
export function languageChanged(): void {
  document.querySelector<CampanaBell>("campana-bell")?.requestUpdate();
}
