"""The agent's own pages in English: every word that does not come from the registry of purposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PAGE: Final[Mapping[str, str]] = {
    # frame
    "title": "Your data on {site}",
    "skip": "Skip to content",
    "language": "Language",
    "back": "Back to {site}",
    "switch": "Not me: switch person",
    "closing": "This page loads nothing from elsewhere.",
    "rules_version": "Content rules: version {version}, the same for everyone, signature verified.",
    "kept_device": "Everything on this page is kept on this device. The site cannot read this page.",
    "kept_gateway": "Everything on this page is kept on a box in your household or workplace. Whoever runs that box "
    "can see it.",
    "kept_site_edge": "Everything on this page is kept on a box that the site runs. Whoever runs that box can see it.",
    "site_edge": "Site-edge mode.",
    "site_edge_more": "What you do on this site still reaches neither of the two services that make the sums.",
    # at a glance
    "glance": "At a glance",
    "glance_uses": "uses allowed",
    "glance_events": "events on this device",
    "glance_left": "left this device",
    "glance_budget": "privacy budget spent (epsilon)",
    "of": "{some} of {all}",
    # answers
    "choices": "What you allow",
    "yes": "Yes",
    "no": "No",
    "to": "to: {title}",
    "saved_yes": "Saved: your answer is yes.",
    "saved_no": "Saved: your answer is no.",
    "saved_erased": "Everything that was collected is deleted.",
    "notice_changed": "Nothing was saved: this notice has changed since you opened it, please look again.",
    "to_answer": "Please answer again",
    "to_answer_one": "One use has changed, or your answer is too old. It is off until you answer again.",
    "to_answer_more": "{count} uses have changed, or your answers are too old. They are off until you answer again.",
    "state_on": "on",
    "state_off": "off",
    "state_open": "off, not answered",
    "state_changed": "off, changed since your answer",
    "state_expired": "off, your answer is too old",
    "state_signal": "off, by your browser’s signal",
    "more": "What is read, what leaves, how long it is kept",
    "reads": "Read on this device",
    "leaves": "Leaves this device",
    "refused": "If you say no",
    "kept": "Kept for",
    "days": "{days} days",
    "now": "Now",
    "since_until": "You said yes on {since}. It ends by itself on {until}.",
    "log_broken": "No report leaves this device at the moment.",
    "log_broken_means": "The public record of what the site asks of everybody does not add up. Whoever looks after "
    "this device can ask the site’s privacy office about it.",
    "gpc_title": "Global Privacy Control",
    "gpc_on": "Global Privacy Control is on.",
    "gpc_means": "It counts as a no to everything below, unless you allow something here afterwards.",
    "gpc_off": "Your browser does not send it now. If it does, that counts as no to everything here, unless you say "
    "yes afterwards.",
    "gpc_seen": "It was applied to your choices on {when}.",
    "gpc_never": "It has not been applied to your choices here.",
    "gpc_site": "What this page declares about it",
    # record of choices
    "record": "The record of your choices",
    "record_lead": "Each choice is signed on this device and chained to the one before. The site’s operator signs "
    "that it has heard of a yes, and of one that you take back; a no from the start stays here.",
    "record_none": "No choice has been made yet.",
    "record_caption": "Your choices, the latest first",
    "record_more": "The {count} latest are shown; all of them are in “See everything”.",
    "when": "When",
    "choice": "Choice",
    "uses": "Uses",
    "shown_in": "Shown in",
    "operator": "The site’s operator",
    "kind_grant": "Yes",
    "kind_withdrawal": "Taken back",
    "kind_refusal": "No",
    "kind_gpc": "Global Privacy Control applied",
    "all_uses": "all uses",
    "sign_home": "stays on this device",
    "sign_waiting": "not heard yet; your device keeps trying",
    "sign_confirmed": "signed on {when}",
    "sign_refused": "did not sign",
    # after a withdrawal
    "back_title": "What you took back",
    "back_lead": "On {when} you took back: {uses}. Since then nothing leaves this device for it.",
    "back_here": "On this device",
    "back_events": "Everything that was collected is deleted.",
    "back_events_kept": "What was collected stays for the uses that you still allow.",
    "back_unsent": "Reports deleted before they left: {count}.",
    "back_none_ready": "No report was waiting to leave.",
    "back_leader": "The site’s operator",
    "back_leader_confirmed": "Has signed on {when} that it heard, and has to drop what it held of open rounds.",
    "back_leader_waiting": "Has not answered yet. Your device keeps trying; nothing leaves meanwhile.",
    "back_leader_refused": "Has not signed. That changes nothing here: nothing leaves.",
    "back_helper": "The privacy office",
    "back_helper_none": "Nothing had to be taken out: no report of yours was in an open round.",
    "back_helper_signed": "Has signed that a report of an open round is in no sum: {kept} of {sent}.",
    "back_helper_waiting": "Not answered yet: {waiting} of {sent}. Your device keeps trying.",
    "back_fixed": "What cannot be undone",
    "back_fixed_none": "Nothing: no report of yours can be in a published sum.",
    "back_fixed_some": "These reports may be part of sums that are already published. A sum cannot be taken apart "
    "again; how much all sums together can reveal about you is limited, see",
    "releases": "Published sums that your reports may be in",
    "releases_none": "None so far.",
    "releases_lead": "Reports are listed whether they were empty or not. A hidden coin decides that, and nobody, this "
    "page included, tells them apart.",
    "releases_more": "{count} more are in “See everything”.",
    "study": "Study",
    "use": "Use",
    "round": "Round",
    "sent_on": "Sent",
    "known": "What is known",
    "outcome_standing": "Sent while you allowed it; it may be in the sum.",
    "outcome_unsent": "Deleted here before it left.",
    "outcome_kept_out": "The privacy office has signed that it is in no sum.",
    "outcome_removed": "The operator has signed that it took it out; the privacy office has not.",
    "outcome_possible": "Taken back, but perhaps too late; it may be in the sum.",
    # rights
    "rights": "Your rights",
    "right_access": "See everything",
    "right_access_how": "What the agent keeps about you, table by table; what is left out is named.",
    "right_access_go": "See everything",
    "right_take": "Take it with you",
    "right_take_how": "The same as files, made on this device.",
    "right_json": "One file (JSON)",
    "right_csv": "Tables (CSV)",
    "right_erase": "Erase everything about me",
    "right_erase_how": "Takes back every yes and deletes what is about you here. You are told what stays, and asked "
    "once more.",
    "right_erase_go": "Erase everything …",
    "right_object": "Object to one use",
    "right_object_how": "Press No beside it. It works at once, needs no reason, and nothing else changes.",
    "right_object_go": "To the answers",
    "right_proof": "Prove what you chose",
    "right_proof_how": "Your signed choices and the operator’s signatures, which anyone can check elsewhere without "
    "us.",
    "right_proof_go": "Consent record (JSON)",
    # conclusions
    "conclusions": "What your device makes of it",
    "persona": "Persona",
    "persona_none": "none yet",
    "typical": "Typical:",
    "time_on": "time on",
    "intent": "Likely to buy in this visit",
    "intent_none": "not known",
    "segments": "Segments",
    "none": "none",
    "unknown": "unknown",
    "why": "Why you see what you see",
    "why_place": "The place",
    "why_shows": "shows",
    "why_because": "because",
    "why_holds": "holds for you.",
    "why_without": "Without this rule:",
    "why_default": "the site’s default content",
    "why_none": "No rule holds for you; every page shows its default content.",
    "why_page": "A page knows which module it shows, and can guess from it which group you were counted to. It is "
    "told nothing else.",
    "conclusions_none": "Nothing. Your device only looks at what was collected if you allow “{title}”.",
    "conclusions_early": "Nothing yet: this device has not received any content rules from the site. It works without "
    "them.",
    # collected
    "collected": "What was collected",
    "latest": "Latest events",
    "what": "What",
    "page": "Page",
    "category": "Category",
    "detail": "Detail",
    "visible": "{seconds} s visible",
    "scrolled": "{share} scrolled",
    "collected_none": "Nothing is stored. Events are collected only for a use that you allow, and are deleted at once "
    "when you allow none.",
    "collected_kept": "Events are deleted after 30 days. Deleting them does not touch your choices, nor the record of "
    "what was spent of your budget: that one keeps you protected.",
    "collected_delete": "Delete collected events",
    # left
    "left": "What left this device",
    "left_region": "What left, by use",
    "left_caption": "Reports, by use: every byte of them",
    "reports": "Reports",
    "bytes_each": "Bytes in each",
    "bytes": "Bytes",
    "together": "Together",
    "left_never": "nothing ever leaves for this",
    "left_none": "nothing so far",
    "left_each": "{mean} on average",
    "left_what": "A report is numbers under a random mask, the key to the mask sealed for a second service, and a "
    "signature. Neither service can read it; what they can read is the noisy sum over many devices. Many reports are "
    "empty, decided by a hidden coin on your device; those look the same and are counted here too.",
    "left_beside": "Beside reports, your device sends the site’s server its public key, each yes and each yes that you "
    "take back, signed, and asks it the same question as every other device: is there anything to do. It asks the "
    "privacy office whether a study was stopped, and tells it which reports you took back.",
    # budget
    "budget": "Privacy budget",
    "budget_spent": "Spent, if the two services stay apart",
    "budget_meter": "Budget spent",
    "budget_unit": "Per person and device, within any {days} days, zero-out, δ {delta}.",
    "budget_local": "If the two services work together",
    "local": "local ε {figure}",
    "local_none": "none",
    "local_unit": "Per training row, zero-out, δ {delta}",
    "local_sum": ": the sum over the studies that trained here, since they use the same rows ({studies}). Each study "
    "has a limit of its own; the sum has none",
    "local_covers": ". It protects model updates only; other reports they could read.",
    "local_nothing": "No model was trained here with noise of its own, so together they could read single reports.",
    "budget_means": "The first figure limits what anyone can learn about you from everything that is ever released: "
    "whatever they conclude is at most {spent} times as likely as if your reports had all been empty, but for a "
    "chance of about {delta}. It can never pass ε {cap} ({most} times): when the budget is used up, your reports are "
    "empty.",
    "factor_any": "practically any number of",
    "budget_lifetime": "since the beginning, a reading and not a limit.",
    "budget_damaged": "The record of what was spent is damaged or was restored from a copy, so all of it counts as "
    "spent.",
    "budget_none": "Nothing has been asked of this device, and nothing is spent.",
    # limits
    "limits": "What is not promised",
    "limit_here": "The site’s own server runs on the same machine as this agent. If it wants to, it can come to know "
    "what your browser proves itself with, read this page, answer on it for you, and make another browser count as "
    "yours. This way of running is for trials.",
    "limit_site": "The site sees the pages that you ask it for, and a script of its own could watch what you do on "
    "them. This agent neither helps with that nor prevents it.",
    "limit_page": "What a page shows you, that page knows, and it can guess from it which group you were counted to.",
    "limit_server": "The site’s server sees that this device takes part, what you said yes to, and when it sends "
    "something.",
    "limit_devices": "With several devices you have a budget on each of them, and they add up.",
    "limit_sums": "What is already part of a published sum cannot be taken out of it again.",
    # everything
    "everything": "Everything the agent knows about you",
    "everything_lead": "Read from this device just now. Secrets, such as your signing key, are left out; the last "
    "table says which and why.",
    "everything_empty": "Nothing.",
    "everything_rows": "Rows {first} to {last}",
    "everything_rest": "Show all of “{title}”",
    "everything_tables": "Tables",
    "everything_earlier": "Earlier rows",
    "everything_later": "More rows",
    "everything_back": "Back to your page",
    "true": "yes",
    "false": "no",
    # erasing
    "erase": "Erase everything about you?",
    "erase_what": "This takes back every yes on every site behind this agent, and deletes from this device:",
    "erase_events": "everything that was collected, and what your device made of it",
    "erase_choices": "your choices, their signatures and your keys, your name and the browsers that you said are yours",
    "erase_queue": "reports that have not left, and the list of those that have",
    "erase_not": "What stays, and why:",
    "erase_spent": "how much of your privacy budget was spent, under a pseudonym and without end: it keeps you "
    "protected. Whoever opens this device’s store could test a name that they guess against it",
    "erase_told": "what you took back, without your name, until the services have confirmed it",
    "erase_proof": "your signed choices at the site’s operator, as proof, for as long as the site’s privacy notice "
    "says",
    "erase_sums": "sums that are already published: what is part of them cannot be taken out",
    "erase_first": "You may want to take a copy with you first.",
    "erase_final": "It cannot be undone.",
    "erase_yes": "Erase everything",
    "erase_no": "Keep everything",
    "erased": "What this device kept about you is erased",
    "erased_more": "What is left here: how much of the privacy budget was spent, under a pseudonym, and what you took "
    "back, without your name, until the services have confirmed it. They are told as soon as they answer. The site’s "
    "operator keeps your signed choices as proof, for as long as the site’s privacy notice says.",
}

RULES: Final[Mapping[str, str]] = {
    "granted": "On, because you said yes.",
    "unknown_gate": "Off: nothing here asks for it in this way.",
    "unknown_purpose": "Off: there is no such use.",
    "nothing_leaves": "Nothing ever leaves this device for it.",
    "child": "Off: a child is here, and children get no profile.",
    "person_unknown": "Off: nobody has said who is here.",
    "ledger_faulty": "Off: the record of your choices on this device is damaged, so no yes counts. Please answer "
    "again.",
    "not_granted": "Off, because you have not answered. Everything is off from the start.",
    "declined": "Off, because your last answer was no.",
    "purpose_changed": "Off: what it is for has changed since you said yes. Please read it again and answer.",
    "expired": "Off: your yes is too old. Please answer again.",
    "clock_before_receipt": "Off: this device’s clock shows a time before you said yes, so nobody can tell its age.",
    "gpc_opt_out": "Off: your browser sent Global Privacy Control, and you have not said yes here since.",
}

EVENTS: Final[Mapping[str, str]] = {
    "page_view": "page views",
    "click": "clicks",
    "scroll": "scrolling",
    "dwell": "time on a page",
    "search": "searches",
    "custom": "other events",
    "add_to_cart": "put in the cart",
    "remove_from_cart": "taken out of the cart",
    "purchase": "purchases",
}
