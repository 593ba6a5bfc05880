/*! campana-bell 0.1.0, Apache-2.0. Bundled packages and their licences: licenses.txt */
function i(e){let n=document.getElementById(e);if(n===null)throw new Error(`the page has no #${e}`);return n}function l(e,n){let t=i(e);t.textContent!==n&&(t.textContent=n)}async function u(e){let n=`HTTP ${e.status}`;try{let t=await e.json();if(typeof t!="object"||t===null)return n;let{detail:o,title:a}=t;return typeof o=="string"&&o!==""?o:typeof a=="string"&&a!==""?a:n}catch{return n}}var k=2e4,c=class extends Error{};async function p(e){let n=await b("/demo/session",{user:e},null);if(n.status===404)throw new c("The demo is switched off on this gateway: it has no POST /demo/session.");if(!n.ok)throw new c(`The gateway refused a session: ${await u(n)}`);let t=await n.json();if(!t.token||!t.ws_url||!t.channel)throw new c("The gateway's session lacks a token, an address or a channel.");return{api_key:"",api_base:"",user:e,...t}}async function h(e,n){let t=await b(`${e.api_base}/v1/notifications`,I(e,n),e.api_key);if(t.status!==202)throw new c(`Not accepted: ${await u(t)}`);let{id:o,trace_id:a}=await t.json();return{id:o,traceId:a??""}}function T(e){return`${e}@example.com`}function I({user:e},{title:n,body:t,email:o,category:a,url:r}){return{to:o?{id:e,email:T(e)}:e,content:{title:n,body:t,...r!==void 0&&{url:r}},...a!==void 0&&{metadata:{category:a}},channels:o?["in_app","email"]:["in_app"]}}async function b(e,n,t){let o={"content-type":"application/json"};t!==null&&(o.authorization=`Bearer ${t}`);try{return await fetch(e,{method:"POST",headers:o,body:JSON.stringify(n),signal:AbortSignal.timeout(k)})}catch(a){let r=a instanceof DOMException&&a.name==="TimeoutError";throw new c(r?"The gateway did not answer in time.":"The gateway cannot be reached. Is campana still running?")}}import{Inbox as M}from"/assets/headless.js";function f(e){let n=new M(e),t=o=>document.getElementById(`headless-${o}`);return n.on("change",({items:o,unread:a,state:r})=>{t("unread").textContent=String(a),t("state").textContent=r,t("list").replaceChildren(...o.filter(s=>!s.archived).slice(0,5).map(s=>{let[m,g,d]=[document.createElement("li"),document.createElement("span"),document.createElement("button")];return m.className=s.read?"":"fresh",g.textContent=s.title,d.textContent=s.read?"Read":"Mark read",d.disabled=s.read,d.onclick=()=>n.markRead([s.id]),m.append(g,d),m}))}),n.on("refused",({reason:o})=>console.warn(`not marked: ${o}`)),n.start(),n}var x=`import { Inbox } from "campana-bell/headless";
import type { InboxOptions } from "campana-bell/headless";

/** The newest five of an inbox, in a list of the page's own. */
export function headlessList(options: InboxOptions): Inbox {
  const inbox = new Inbox(options);
  const at = (id: string): HTMLElement => document.getElementById(\`headless-\${id}\`) as HTMLElement;

  inbox.on("change", ({ items, unread, state }) => {
    at("unread").textContent = String(unread);
    at("state").textContent = state;
    at("list").replaceChildren(...items.filter((item) => !item.archived).slice(0, 5).map((item) => {
      const [row, title, read] = [document.createElement("li"), document.createElement("span"), document.createElement("button")];
      row.className = item.read ? "" : "fresh";
      title.textContent = item.title;
      read.textContent = item.read ? "Read" : "Mark read";
      read.disabled = item.read;
      read.onclick = () => inbox.markRead([item.id]);
      row.append(title, read);
      return row;
    }));
  });
  inbox.on("refused", ({ reason }) => console.warn(\`not marked: \${reason}\`));

  inbox.start();
  return inbox;
}
`;import{Inbox as C}from"/assets/headless.js";function $({unread:e,unseen:n,items:t,more:o},a){let r=document.createElement("p");r.textContent=`${e} unread, ${n} unseen, ${t.length} loaded`;let s=document.createElement("button");return s.className="hook-button",s.textContent=o?"Load earlier":"Everything is here",s.disabled=!o,s.onclick=()=>a.loadEarlier(),[r,s]}function w(e,n){let t=new C(n),o=null,a=()=>{let r=t.getSnapshot();r!==o&&(o=r,e.replaceChildren(...$(r,t)))};return t.subscribe(a),a(),t.start(),t}var y=`import { Inbox } from "campana-bell/headless";
import type { InboxOptions, Snapshot } from "campana-bell/headless";

// In React:
//   const { items, unread } = useSyncExternalStore(inbox.subscribe, inbox.getSnapshot);

/** A component: what to show for a snapshot. */
function UnreadCard({ unread, unseen, items, more }: Snapshot, inbox: Inbox): Node[] {
  const text = document.createElement("p");
  text.textContent = \`\${unread} unread, \${unseen} unseen, \${items.length} loaded\`;
  const button = document.createElement("button");
  button.className = "hook-button";
  button.textContent = more ? "Load earlier" : "Everything is here";
  button.disabled = !more;
  button.onclick = () => inbox.loadEarlier();
  return [text, button];
}

/** What a framework does with a store: draw, and draw again when the snapshot is another one. */
export function mount(root: HTMLElement, options: InboxOptions): Inbox {
  const inbox = new Inbox(options);
  let drawn: Snapshot | null = null;
  const draw = (): void => {
    const snapshot = inbox.getSnapshot();
    if (snapshot === drawn) return;
    drawn = snapshot;
    root.replaceChildren(...UnreadCard(snapshot, inbox));
  };
  inbox.subscribe(draw);
  draw();
  inbox.start();
  return inbox;
}
`;var O=[["en","ltr","English"],["de","ltr","Deutsch"],["fr","ltr","Français"],["ar","rtl","العربية"]],E=["Your table is ready","Build 4128 is green","Noor wrote a comment","Appointment moved to Thursday"];L();async function L(){let e=new URLSearchParams(location.search).get("user")||"alice";l("who",e),l("headless-code",x),l("hook-code",y),A();try{P(await p(e),e)}catch(n){l("session-error-text",n instanceof Error?n.message:String(n)),i("session-error").hidden=!1}}function P(e,n){let t={endpoint:e.ws_url,user:e.user,channel:e.channel,apiBase:e.api_base,token:e.token},o=async()=>(await p(n)).token,a=document.querySelector("#tabs campana-bell");a!==null&&(a.tabs=["all",{id:"orders",label:"Orders",category:"orders"},{id:"links",label:"With a link",filter:r=>r.url!==null},"archived"]);for(let r of document.querySelectorAll("campana-bell"))Object.assign(r,t,{getToken:o});f({...t,getToken:o}),w(i("hook-root"),{...t,getToken:o,pageSize:20}),S("ring",()=>h(e,{title:E[Math.floor(Math.random()*E.length)]??"Ring",body:"From the page of examples.",email:!1})),S("ring-order",()=>h(e,{title:`Order ${1e3+Math.floor(Math.random()*9e3)} is packed`,body:"It leaves today.",email:!1,category:"orders",url:`${location.origin}/examples#tabs`}))}function S(e,n){let t=i(e);t.disabled=!1,t.addEventListener("click",()=>{i("session-error").hidden=!0,n().catch(o=>{l("session-error-text",o instanceof Error?o.message:String(o)),i("session-error").hidden=!1})})}function A(){let e=i("language-stage"),n=i("language-choice");for(let[t,o,a]of O){let r=document.createElement("button");Object.assign(r,{type:"button",textContent:a,lang:t}),r.dataset.testid=`language-${t}`,r.setAttribute("aria-pressed",String(e.lang===t)),r.addEventListener("click",()=>{Object.assign(e,{lang:t,dir:o}),l("language-name",a);for(let s of n.children)s.setAttribute("aria-pressed",String(s===r));e.querySelector("campana-bell")?.requestUpdate()}),n.append(r)}}
