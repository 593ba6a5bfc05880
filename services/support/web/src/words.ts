// Everything that the pages say, in English and Spanish.

export type Language = "en" | "es";

const EN = {
  brand: "Support",
  brandAgents: "Support desk",
  titleCustomer: "Campana support",
  titleAgents: "Campana support: agents",
  language: "Language",
  startTitle: "How can we help?",
  startLead: "Ask here. A person answers, and you may close the page and come back.",
  name: "Your name",
  emailMaybe: "E-mail, if we may write to you",
  subject: "What is it about?",
  text: "Your question",
  ask: "Ask",
  earlier: "Earlier questions",
  message: "Message",
  answer: "Answer",
  send: "Send",
  close: "That solved it",
  closeTicket: "Close the ticket",
  another: "Another question",
  missing: "Please write something here.",
  emailWrong: "Please write an address like ana@example.com, or leave it empty.",
  sending: "Sending…",
  sent: "Sent.",
  noTicket: "The link of this letter does not work any more. Ask a new question.",
  tooFast: "That was quick. Wait a few seconds and try again.",
  refused: "That was refused. Check what you wrote and try again.",
  closedAlready: "This ticket is closed. Ask another question.",
  unreachable: "The desk does not answer. What you wrote is still here: try again in a moment.",
  noDesk: "The desk does not answer at the moment. This page tries again by itself.",
  you: "You",
  open: "waiting",
  claimed: "in hand",
  closed: "closed",
  connecting: "connecting",
  live: "live",
  polling: "every 3 s",
  away: "away",
  loginTitle: "Sign in to answer",
  account: "Account",
  password: "Password",
  signIn: "Sign in",
  signOut: "Sign out",
  tryAs: "Try it as",
  wrongPassword: "Name or password is wrong.",
  tickets: "Tickets",
  nothing: "Nobody waits. New tickets appear here by themselves.",
  waitingOne: "1 ticket waits.",
  waitingMany: "{count} tickets wait.",
  claim: "Take this ticket",
  taken: "Somebody else was quicker.",
  giveBack: "Give it back",
  returned: "The ticket waits for anybody again.",
  back: "Back",
};

export type Word = keyof typeof EN;

const ES: Record<Word, string> = {
  brand: "Ayuda",
  brandAgents: "Mesa de ayuda",
  titleCustomer: "Ayuda de Campana",
  titleAgents: "Ayuda de Campana: agentes",
  language: "Idioma",
  startTitle: "¿En qué podemos ayudarte?",
  startLead: "Pregunta aquí. Responde una persona; puedes cerrar la página y volver.",
  name: "Tu nombre",
  emailMaybe: "Correo, si podemos escribirte",
  subject: "¿De qué se trata?",
  text: "Tu pregunta",
  ask: "Preguntar",
  earlier: "Preguntas anteriores",
  message: "Mensaje",
  answer: "Respuesta",
  send: "Enviar",
  close: "Ya está resuelto",
  closeTicket: "Cerrar la consulta",
  another: "Otra pregunta",
  missing: "Escribe algo aquí.",
  emailWrong: "Escribe una dirección como ana@example.com o déjala vacía.",
  sending: "Enviando…",
  sent: "Enviado.",
  noTicket: "El enlace de este correo ya no sirve. Haz una pregunta nueva.",
  tooFast: "Vas muy rápido. Espera unos segundos e inténtalo de nuevo.",
  refused: "Fue rechazado. Revisa lo que escribiste e inténtalo de nuevo.",
  closedAlready: "Esta consulta está cerrada. Haz otra pregunta.",
  unreachable: "La mesa no responde. Lo que escribiste sigue aquí: inténtalo de nuevo en un momento.",
  noDesk: "La mesa no responde ahora mismo. Esta página lo intenta de nuevo por sí sola.",
  you: "Tú",
  open: "en espera",
  claimed: "atendida",
  closed: "cerrada",
  connecting: "conectando",
  live: "en vivo",
  polling: "cada 3 s",
  away: "sin conexión",
  loginTitle: "Entra para responder",
  account: "Cuenta",
  password: "Contraseña",
  signIn: "Entrar",
  signOut: "Salir",
  tryAs: "Prueba como",
  wrongPassword: "El nombre o la contraseña no son correctos.",
  tickets: "Consultas",
  nothing: "Nadie espera. Las consultas nuevas aparecen aquí solas.",
  waitingOne: "1 consulta espera.",
  waitingMany: "{count} consultas esperan.",
  claim: "Atender esta consulta",
  taken: "Alguien fue más rápido.",
  giveBack: "Devolverla",
  returned: "La consulta espera de nuevo a cualquiera.",
  back: "Volver",
};

const ALL: Record<Language, Record<Word, string>> = { en: EN, es: ES };
const REMEMBERED = "campana-support-language";

/** The language of the first name that is one of ours. */
export function choose(names: readonly string[]): Language {
  for (const name of names) {
    const short = name.slice(0, 2).toLowerCase();
    if (short === "en" || short === "es") return short;
  }
  return "en";
}

export function say(language: Language, word: Word, values: Record<string, string | number> = {}): string {
  return ALL[language][word].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export function remembered(): string {
  try {
    return localStorage.getItem(REMEMBERED) ?? "";
  } catch {
    return "";
  }
}

export function remember(language: Language): void {
  try {
    localStorage.setItem(REMEMBERED, language);
  } catch {
    // Private windows forget it, which is what they are for.
  }
}
