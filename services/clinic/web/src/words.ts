/** Every word of the page, in Spanish and English. */

import type { Action, Role, Status } from "./api.ts";
import type { Language } from "./time.ts";

export interface Words {
  readonly other: string;
  readonly otherName: string;
  readonly skip: string;
  readonly home: Readonly<Record<Role, string>>;
  readonly account: string;
  readonly signIn: string;
  readonly signUp: string;
  readonly signInTitle: string;
  readonly signUpTitle: string;
  readonly lead: string;
  readonly noAccount: string;
  readonly haveAccount: string;
  readonly name: string;
  readonly email: string;
  readonly password: string;
  readonly passwordHint: string;
  readonly tryAs: string;
  readonly tryAsHint: string;
  readonly roles: Readonly<Record<Role, string>>;
  readonly bookTitle: string;
  readonly clinic: string;
  readonly dentist: string;
  readonly date: string;
  readonly time: string;
  readonly choose: string;
  readonly note: string;
  readonly noteHint: string;
  readonly ask: string;
  readonly asking: string;
  readonly chooseDay: string;
  readonly loadingTimes: string;
  readonly noTimes: string;
  readonly closed: string;
  readonly localTime: (zone: string) => string;
  readonly missingTime: string;
  readonly created: string;
  readonly createdMore: string;
  readonly another: string;
  readonly mine: string;
  readonly toAnswer: string;
  readonly agenda: string;
  readonly past: string;
  readonly showPast: string;
  readonly more: string;
  readonly loading: string;
  readonly noneAhead: Readonly<Record<Role, string>>;
  readonly noneAheadHint: Readonly<Record<Role, string>>;
  readonly noneToAnswer: string;
  readonly nonePast: string;
  readonly status: Readonly<Record<Status, string>>;
  readonly proposal: (when: string) => string;
  readonly proposalSent: (when: string) => string;
  readonly yourNote: string;
  readonly patientNote: string;
  readonly dentistMessage: (name: string) => string;
  readonly actions: Readonly<Record<Action, string>>;
  readonly about: (action: string, what: string) => string;
  readonly done: Readonly<Record<Action, string>>;
  readonly cancelTitle: string;
  readonly cancelText: (when: string) => string;
  readonly declineTitle: string;
  readonly proposeTitle: string;
  readonly message: string;
  readonly messageHint: string;
  readonly keep: string;
  readonly back: string;
  readonly profile: string;
  readonly language: string;
  readonly phone: string;
  readonly phoneHint: string;
  readonly wants: string;
  readonly bellAlways: string;
  readonly byEmail: string;
  readonly bySms: string;
  readonly byWhatsapp: string;
  readonly save: string;
  readonly saved: string;
  readonly sessions: string;
  readonly thisDevice: string;
  readonly lastUsed: (when: string) => string;
  readonly endSession: string;
  readonly signOut: string;
  readonly live: Readonly<Record<"connecting" | "connected" | "offline", string>>;
  readonly notFound: string;
  readonly retry: string;
  readonly problems: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  readonly rateLimited: (seconds: number) => string;
}

const SPANISH: Words = {
  other: "EN",
  otherName: "English",
  skip: "Ir al contenido",
  home: { patient: "Citas", dentist: "Agenda" },
  account: "Mi cuenta",
  signIn: "Entrar",
  signUp: "Crear cuenta",
  signInTitle: "Entra para pedir cita",
  signUpTitle: "Crea tu cuenta",
  lead: "Pide cita con tu dentista en un minuto. Te avisamos cuando responda y antes de que llegue el día.",
  noAccount: "¿Aún no tienes cuenta?",
  haveAccount: "¿Ya tienes cuenta?",
  name: "Nombre",
  email: "Correo electrónico",
  password: "Contraseña",
  passwordHint: "Al menos 8 caracteres",
  tryAs: "Probar como…",
  tryAsHint: "Esta es una demostración: entra como paciente en una ventana y como dentista en otra.",
  roles: { patient: "Paciente", dentist: "Dentista" },
  bookTitle: "Pide tu cita",
  clinic: "Clínica",
  dentist: "Dentista",
  date: "Fecha",
  time: "Hora",
  choose: "Elige…",
  note: "Motivo (opcional)",
  noteHint: "Lo lee solo tu dentista.",
  ask: "Pedir cita",
  asking: "Pidiendo la cita…",
  chooseDay: "Elige dentista y fecha para ver las horas libres.",
  loadingTimes: "Buscando horas libres…",
  noTimes: "No queda ninguna hora libre ese día. Prueba con otro.",
  closed: "La clínica está cerrada ese día. Prueba con otro.",
  localTime: (zone) => `Hora local de la clínica (${zone})`,
  missingTime: "Elige una hora.",
  created: "La cita fue creada con éxito",
  createdMore: "Te avisaremos en cuanto responda la clínica.",
  another: "Pedir otra cita",
  mine: "Mis citas",
  toAnswer: "Por responder",
  agenda: "Próximas citas",
  past: "Citas anteriores",
  showPast: "Mostrar citas anteriores",
  more: "Mostrar más",
  loading: "Cargando…",
  noneAhead: { patient: "No tienes citas pendientes", dentist: "No hay citas próximas" },
  noneAheadHint: { patient: "Cuando pidas una, la verás aquí.", dentist: "Cuando aceptes una, la verás aquí." },
  noneToAnswer: "Todo respondido. Las nuevas peticiones aparecen aquí al instante.",
  nonePast: "No hay citas anteriores.",
  status: { requested: "Pendiente", accepted: "Confirmada", proposed: "Otra hora propuesta", declined: "Rechazada", cancelled: "Anulada" },
  proposal: (when) => `Te proponen otra hora: ${when}`,
  proposalSent: (when) => `Propusiste: ${when}. Falta la respuesta del paciente.`,
  yourNote: "Motivo",
  patientNote: "Motivo del paciente",
  dentistMessage: (name) => `Mensaje de ${name}`,
  actions: {
    accept: "Aceptar", propose: "Proponer otra hora", decline: "Rechazar",
    accept_proposal: "Aceptar la nueva hora", decline_proposal: "No me va bien", cancel: "Anular cita",
  },
  about: (action, what) => `${action}: ${what}`,
  done: {
    accept: "Cita confirmada.", propose: "Propuesta enviada.", decline: "Cita rechazada.",
    accept_proposal: "Nueva hora aceptada.", decline_proposal: "Respuesta enviada.", cancel: "Cita anulada.",
  },
  cancelTitle: "¿Anular la cita?",
  cancelText: (when) => `La cita del ${when} se anula y la hora queda libre.`,
  declineTitle: "Rechazar la cita",
  proposeTitle: "Proponer otra hora",
  message: "Mensaje para el paciente (opcional)",
  messageHint: "Por ejemplo, el motivo.",
  keep: "Conservar la cita",
  back: "Volver",
  profile: "Tus datos",
  language: "Idioma de los avisos",
  phone: "Teléfono móvil",
  phoneHint: "Con prefijo, como +34 600 111 222. Solo para SMS y WhatsApp.",
  wants: "Avísame también por",
  bellAlways: "La campana de esta página suena siempre.",
  byEmail: "Correo electrónico",
  bySms: "SMS",
  byWhatsapp: "WhatsApp",
  save: "Guardar",
  saved: "Guardado.",
  sessions: "Sesiones abiertas",
  thisDevice: "este dispositivo",
  lastUsed: (when) => `Último uso: ${when}`,
  endSession: "Cerrar sesión",
  signOut: "Salir",
  live: { connecting: "Conectando…", connected: "En directo", offline: "Sin conexión en directo" },
  notFound: "Esta cita no existe o no es tuya.",
  retry: "Reintentar",
  rateLimited: (seconds) => `Demasiados intentos. Prueba de nuevo en ${seconds} s.`,
  problems: {
    network: "No hay conexión con la clínica. Comprueba tu red y reintenta.",
    unauthorized: "Tu sesión ha terminado. Entra de nuevo.",
    wrong_credentials: "El correo o la contraseña no son correctos.",
    email_taken: "Ya hay una cuenta con este correo. Entra con ella.",
    time_taken: "Alguien acaba de reservar esa hora. Elige otra.",
    patient_busy: "El paciente ya tiene otra cita a esa hora. Elige otra.",
    changed_meanwhile: "La cita cambió mientras tanto. Ya ves su estado actual: inténtalo de nuevo.",
    not_possible: "Eso ya no es posible con esta cita.",
    too_many_open: "Ya tienes muchas citas abiertas. Anula alguna para pedir otra.",
    time_is_past: "Esa hora ya pasó. Elige otra.",
    same_time: "Es la hora que ya tiene la cita.",
    no_such_time: "A esa hora no empieza ninguna cita. Elige una de la lista.",
    too_far_ahead: "Solo se puede pedir cita con 180 días de antelación.",
    platform_unavailable: "Los avisos no están disponibles ahora mismo.",
    store_unavailable: "La clínica está ocupada. Reintenta en unos segundos.",
    validation_failed: "Revisa los datos marcados.",
    internal: "Algo falló por nuestra parte. Reintenta.",
  },
  fields: {
    "/name": "Escribe un nombre de hasta 80 caracteres.",
    "/email": "Escribe un correo como ana@example.com.",
    "/password": "Usa entre 8 y 256 caracteres.",
    "/phone": "Escribe el número con prefijo, como +34 600 111 222.",
    "/note": "Hasta 500 caracteres.",
    "/message": "Hasta 500 caracteres.",
  },
};

const ENGLISH: Words = {
  other: "ES",
  otherName: "Español",
  skip: "Skip to content",
  home: { patient: "Appointments", dentist: "Schedule" },
  account: "My account",
  signIn: "Sign in",
  signUp: "Create account",
  signInTitle: "Sign in to book",
  signUpTitle: "Create your account",
  lead: "Ask for an appointment with your dentist in a minute. We tell you when it is answered, and before the day comes.",
  noAccount: "No account yet?",
  haveAccount: "Have an account?",
  name: "Name",
  email: "E-mail address",
  password: "Password",
  passwordHint: "At least 8 characters",
  tryAs: "Try as…",
  tryAsHint: "This is a demo: be a patient in one window and a dentist in another.",
  roles: { patient: "Patient", dentist: "Dentist" },
  bookTitle: "Book an appointment",
  clinic: "Clinic",
  dentist: "Dentist",
  date: "Date",
  time: "Time",
  choose: "Choose…",
  note: "Reason (optional)",
  noteHint: "Only your dentist reads it.",
  ask: "Ask for it",
  asking: "Asking…",
  chooseDay: "Choose a dentist and a date to see the free times.",
  loadingTimes: "Looking for free times…",
  noTimes: "No free time is left on that day. Try another one.",
  closed: "The clinic is closed on that day. Try another one.",
  localTime: (zone) => `Local time of the clinic (${zone})`,
  missingTime: "Choose a time.",
  created: "The appointment was created successfully",
  createdMore: "We will tell you as soon as the clinic answers.",
  another: "Book another one",
  mine: "My appointments",
  toAnswer: "To be answered",
  agenda: "Coming up",
  past: "Earlier appointments",
  showPast: "Show earlier appointments",
  more: "Show more",
  loading: "Loading…",
  noneAhead: { patient: "No appointments ahead", dentist: "Nothing coming up" },
  noneAheadHint: { patient: "When you ask for one, it shows here.", dentist: "When you accept one, it shows here." },
  noneToAnswer: "All answered. New requests show up here at once.",
  nonePast: "There are no earlier appointments.",
  status: { requested: "Waiting", accepted: "Confirmed", proposed: "Another time proposed", declined: "Declined", cancelled: "Cancelled" },
  proposal: (when) => `Another time is proposed: ${when}`,
  proposalSent: (when) => `You proposed: ${when}. The patient has not answered yet.`,
  yourNote: "Reason",
  patientNote: "The patient's reason",
  dentistMessage: (name) => `Message from ${name}`,
  actions: {
    accept: "Accept", propose: "Propose another time", decline: "Decline",
    accept_proposal: "Take the new time", decline_proposal: "Does not suit me", cancel: "Cancel appointment",
  },
  about: (action, what) => `${action}: ${what}`,
  done: {
    accept: "Appointment confirmed.", propose: "Proposal sent.", decline: "Appointment declined.",
    accept_proposal: "New time accepted.", decline_proposal: "Answer sent.", cancel: "Appointment cancelled.",
  },
  cancelTitle: "Cancel the appointment?",
  cancelText: (when) => `The appointment on ${when} is cancelled and the time becomes free.`,
  declineTitle: "Decline the appointment",
  proposeTitle: "Propose another time",
  message: "Message to the patient (optional)",
  messageHint: "For example, the reason.",
  keep: "Keep it",
  back: "Back",
  profile: "Your details",
  language: "Language of messages",
  phone: "Mobile phone",
  phoneHint: "With its country, such as +34 600 111 222. Only for SMS and WhatsApp.",
  wants: "Tell me also by",
  bellAlways: "The bell on this page always rings.",
  byEmail: "E-mail",
  bySms: "SMS",
  byWhatsapp: "WhatsApp",
  save: "Save",
  saved: "Saved.",
  sessions: "Open sessions",
  thisDevice: "this device",
  lastUsed: (when) => `Last used: ${when}`,
  endSession: "End session",
  signOut: "Sign out",
  live: { connecting: "Connecting…", connected: "Live", offline: "No live updates" },
  notFound: "This appointment does not exist or is not yours.",
  retry: "Try again",
  rateLimited: (seconds) => `Too many attempts. Try again in ${seconds} s.`,
  problems: {
    network: "The clinic cannot be reached. Check your network and try again.",
    unauthorized: "Your session has ended. Sign in again.",
    wrong_credentials: "E-mail address or password are wrong.",
    email_taken: "There is an account with this e-mail address. Sign in with it.",
    time_taken: "Somebody has just taken that time. Choose another one.",
    patient_busy: "The patient has another appointment at that time. Choose another one.",
    changed_meanwhile: "The appointment changed meanwhile. You see it as it is now: try again.",
    not_possible: "That is not possible with this appointment any more.",
    too_many_open: "You have many open appointments. Cancel one to ask for another.",
    time_is_past: "That time is over. Choose another one.",
    same_time: "That is the time that it has already.",
    no_such_time: "No appointment begins at that time. Choose one of the list.",
    too_far_ahead: "Appointments can be made up to 180 days ahead.",
    platform_unavailable: "Notifications are not available at the moment.",
    store_unavailable: "The clinic is busy. Try again in a few seconds.",
    validation_failed: "Check what is marked.",
    internal: "Something went wrong on our side. Try again.",
  },
  fields: {
    "/name": "Write a name of up to 80 characters.",
    "/email": "Write an address such as ana@example.com.",
    "/password": "Use 8 to 256 characters.",
    "/phone": "Write the number with its country, such as +34 600 111 222.",
    "/note": "Up to 500 characters.",
    "/message": "Up to 500 characters.",
  },
};

export const WORDS: Readonly<Record<Language, Words>> = { es: SPANISH, en: ENGLISH };
