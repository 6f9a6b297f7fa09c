"""The agent's own pages in German, with the same keys as in English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PAGE: Final[Mapping[str, str]] = {
    # frame
    "title": "Ihre Daten auf {site}",
    "skip": "Zum Inhalt springen",
    "language": "Sprache",
    "back": "Zurück zu {site}",
    "switch": "Das bin nicht ich: Person wechseln",
    "closing": "Diese Seite lädt nichts von anderswo.",
    "rules_version": "Inhaltsregeln: Fassung {version}, für alle dieselben, Signatur geprüft.",
    "kept_device": "Alles auf dieser Seite liegt auf diesem Gerät. Die Website kann diese Seite nicht lesen.",
    "kept_gateway": "Alles auf dieser Seite liegt auf einem Gerät in Ihrem Haushalt oder Betrieb. Wer es betreibt, "
    "kann es sehen.",
    "kept_site_edge": "Alles auf dieser Seite liegt auf einem Gerät, das die Website betreibt. Wer es betreibt, kann "
    "es sehen.",
    "site_edge": "Der Agent läuft bei der Website.",
    "site_edge_more": "Was Sie auf dieser Website tun, erreicht trotzdem keinen der beiden Dienste, die Summen bilden.",
    # at a glance
    "glance": "Auf einen Blick",
    "glance_uses": "Nutzungen erlaubt",
    "glance_events": "Ereignisse auf diesem Gerät",
    "glance_left": "haben dieses Gerät verlassen",
    "glance_budget": "des Privatsphäre-Budgets verbraucht (Epsilon)",
    "of": "{some} von {all}",
    # answers
    "choices": "Was Sie erlauben",
    "yes": "Ja",
    "no": "Nein",
    "to": "zu: {title}",
    "saved_yes": "Gespeichert: Ihre Antwort ist Ja.",
    "saved_no": "Gespeichert: Ihre Antwort ist Nein.",
    "saved_erased": "Alles Gesammelte ist gelöscht.",
    "notice_changed": "Nichts wurde gespeichert: Dieser Hinweis hat sich geändert, seit Sie ihn geöffnet haben. Bitte "
    "sehen Sie noch einmal hin.",
    "to_answer": "Bitte antworten Sie erneut",
    "to_answer_one": "Eine Nutzung hat sich geändert, oder Ihre Antwort ist zu alt. Sie ist aus, bis Sie erneut "
    "antworten.",
    "to_answer_more": "{count} Nutzungen haben sich geändert, oder Ihre Antworten sind zu alt. Sie sind aus, bis Sie "
    "erneut antworten.",
    "state_on": "an",
    "state_off": "aus",
    "state_open": "aus, nicht beantwortet",
    "state_changed": "aus, seit Ihrer Antwort geändert",
    "state_expired": "aus, Ihre Antwort ist zu alt",
    "state_signal": "aus, durch das Signal Ihres Browsers",
    "more": "Was gelesen wird, was das Gerät verlässt, wie lange es bleibt",
    "reads": "Auf diesem Gerät gelesen",
    "leaves": "Verlässt dieses Gerät",
    "refused": "Wenn Sie Nein sagen",
    "kept": "Aufbewahrt",
    "days": "{days} Tage",
    "now": "Zurzeit",
    "since_until": "Sie haben am {since} Ja gesagt. Es endet von selbst am {until}.",
    "log_broken": "Zurzeit verlässt kein Bericht dieses Gerät.",
    "log_broken_means": "Das öffentliche Verzeichnis dessen, was die Website von allen erfragt, stimmt nicht. Wer sich "
    "um dieses Gerät kümmert, kann die Datenschutzstelle der Website danach fragen.",
    "gpc_title": "Global Privacy Control",
    "gpc_on": "Global Privacy Control ist an.",
    "gpc_means": "Das gilt als Nein zu allem Folgenden, außer Sie erlauben hier danach etwas.",
    "gpc_off": "Ihr Browser sendet es zurzeit nicht. Wenn er es sendet, gilt das hier als Nein zu allem, außer Sie "
    "sagen danach Ja.",
    "gpc_seen": "Auf Ihre Entscheidungen angewandt am {when}.",
    "gpc_never": "Auf Ihre Entscheidungen hier wurde es nicht angewandt.",
    "gpc_site": "Was diese Seite dazu erklärt",
    # record of choices
    "record": "Die Aufzeichnung Ihrer Entscheidungen",
    "record_lead": "Jede Entscheidung wird auf diesem Gerät signiert und mit der vorigen verkettet. Der Betreiber der "
    "Website signiert, dass er von einem Ja und von dessen Rücknahme erfahren hat; ein Nein von Anfang an bleibt hier.",
    "record_none": "Noch wurde nichts entschieden.",
    "record_caption": "Ihre Entscheidungen, die neuesten zuerst",
    "record_more": "Gezeigt sind die {count} neuesten; alle stehen unter „Alles ansehen“.",
    "when": "Wann",
    "choice": "Entscheidung",
    "uses": "Nutzungen",
    "shown_in": "Gezeigt auf",
    "operator": "Betreiber der Website",
    "kind_grant": "Ja",
    "kind_withdrawal": "Zurückgenommen",
    "kind_refusal": "Nein",
    "kind_gpc": "Global Privacy Control angewandt",
    "all_uses": "alle Nutzungen",
    "sign_home": "bleibt auf diesem Gerät",
    "sign_waiting": "hat es noch nicht erfahren; Ihr Gerät versucht es weiter",
    "sign_confirmed": "signiert am {when}",
    "sign_refused": "hat nicht signiert",
    # after a withdrawal
    "back_title": "Was Sie zurückgenommen haben",
    "back_lead": "Am {when} haben Sie zurückgenommen: {uses}. Seitdem verlässt dafür nichts mehr dieses Gerät.",
    "back_here": "Auf diesem Gerät",
    "back_events": "Alles Gesammelte ist gelöscht.",
    "back_events_kept": "Das Gesammelte bleibt für die Nutzungen, die Sie weiter erlauben.",
    "back_unsent": "Berichte, die vor dem Versand gelöscht wurden: {count}.",
    "back_none_ready": "Kein Bericht wartete auf den Versand.",
    "back_leader": "Der Betreiber der Website",
    "back_leader_confirmed": "Hat am {when} signiert, dass er es weiß, und muss entfernen, was er aus offenen Runden "
    "hatte.",
    "back_leader_waiting": "Hat noch nicht geantwortet. Ihr Gerät versucht es weiter; bis dahin verlässt nichts das "
    "Gerät.",
    "back_leader_refused": "Hat nicht signiert. Das ändert hier nichts: Nichts verlässt das Gerät.",
    "back_helper": "Die Datenschutzstelle",
    "back_helper_none": "Es war nichts herauszunehmen: Kein Bericht von Ihnen war in einer offenen Runde.",
    "back_helper_signed": "Hat signiert, dass ein Bericht aus einer offenen Runde in keiner Summe ist: {kept} von "
    "{sent}.",
    "back_helper_waiting": "Noch nicht beantwortet: {waiting} von {sent}. Ihr Gerät versucht es weiter.",
    "back_fixed": "Was sich nicht rückgängig machen lässt",
    "back_fixed_none": "Nichts: Kein Bericht von Ihnen kann in einer veröffentlichten Summe sein.",
    "back_fixed_some": "Diese Berichte können in Summen stecken, die schon veröffentlicht sind. Eine Summe lässt sich "
    "nicht wieder zerlegen; wie viel alle Summen zusammen über Sie verraten können, ist begrenzt, siehe",
    "releases": "Veröffentlichte Summen, in denen Ihre Berichte sein können",
    "releases_none": "Bisher keine.",
    "releases_lead": "Berichte stehen hier, ob sie leer waren oder nicht. Das entscheidet ein verborgener Münzwurf, "
    "und niemand, auch diese Seite nicht, unterscheidet sie.",
    "releases_more": "{count} weitere stehen unter „Alles ansehen“.",
    "study": "Studie",
    "use": "Nutzung",
    "round": "Runde",
    "sent_on": "Gesendet",
    "known": "Was bekannt ist",
    "outcome_standing": "Gesendet, als Sie es erlaubten; kann in der Summe sein.",
    "outcome_unsent": "Hier gelöscht, bevor er das Gerät verließ.",
    "outcome_kept_out": "Die Datenschutzstelle hat signiert, dass er in keiner Summe ist.",
    "outcome_removed": "Der Betreiber hat signiert, dass er ihn entfernt hat; die Datenschutzstelle nicht.",
    "outcome_possible": "Zurückgenommen, aber vielleicht zu spät; kann in der Summe sein.",
    # rights
    "rights": "Ihre Rechte",
    "right_access": "Alles ansehen",
    "right_access_how": "Was der Agent über Sie aufbewahrt, Tabelle für Tabelle; was fehlt, wird genannt.",
    "right_access_go": "Alles ansehen",
    "right_take": "Mitnehmen",
    "right_take_how": "Dasselbe als Dateien, auf diesem Gerät erzeugt.",
    "right_json": "Eine Datei (JSON)",
    "right_csv": "Tabellen (CSV)",
    "right_erase": "Alles über mich löschen",
    "right_erase_how": "Nimmt jedes Ja zurück und löscht, was hier über Sie steht. Sie erfahren, was bleibt, und "
    "werden noch einmal gefragt.",
    "right_erase_go": "Alles löschen …",
    "right_object": "Einer Nutzung widersprechen",
    "right_object_how": "Drücken Sie daneben auf Nein. Es wirkt sofort, braucht keinen Grund, und sonst ändert sich "
    "nichts.",
    "right_object_go": "Zu den Antworten",
    "right_proof": "Belegen, was Sie entschieden haben",
    "right_proof_how": "Ihre signierten Entscheidungen und die Signaturen des Betreibers, die alle anderswo ohne uns "
    "prüfen können.",
    "right_proof_go": "Einwilligungsnachweis (JSON)",
    # conclusions
    "conclusions": "Was Ihr Gerät daraus schließt",
    "persona": "Persona",
    "persona_none": "noch keine",
    "typical": "Typisch:",
    "time_on": "Zeit auf",
    "intent": "Kauf bei diesem Besuch wahrscheinlich",
    "intent_none": "nicht bekannt",
    "segments": "Segmente",
    "none": "keine",
    "unknown": "unbekannt",
    "why": "Warum Sie sehen, was Sie sehen",
    "why_place": "Der Platz",
    "why_shows": "zeigt",
    "why_because": "weil",
    "why_holds": "für Sie gilt.",
    "why_without": "Ohne diese Regel:",
    "why_default": "der Standardinhalt der Website",
    "why_none": "Keine Regel gilt für Sie; jede Seite zeigt ihren Standardinhalt.",
    "why_page": "Eine Seite weiß, welchen Baustein sie zeigt, und kann daraus schließen, welcher Gruppe Sie "
    "zugeordnet wurden. Sonst erfährt sie nichts.",
    "conclusions_none": "Nichts. Ihr Gerät sieht sich das Gesammelte nur an, wenn Sie „{title}“ erlauben.",
    "conclusions_early": "Noch nichts: Dieses Gerät hat von der Website noch keine Inhaltsregeln erhalten. Sie "
    "funktioniert auch ohne.",
    # collected
    "collected": "Was gesammelt wurde",
    "latest": "Neueste Ereignisse",
    "what": "Was",
    "page": "Seite",
    "category": "Kategorie",
    "detail": "Einzelheit",
    "visible": "{seconds} s sichtbar",
    "scrolled": "{share} gescrollt",
    "collected_none": "Nichts ist gespeichert. Ereignisse werden nur für eine Nutzung gesammelt, die Sie erlauben, "
    "und sofort gelöscht, wenn Sie keine erlauben.",
    "collected_kept": "Ereignisse werden nach 30 Tagen gelöscht. Sie zu löschen berührt weder Ihre Entscheidungen "
    "noch die Aufzeichnung darüber, was von Ihrem Budget verbraucht ist: Diese schützt Sie weiter.",
    "collected_delete": "Gesammelte Ereignisse löschen",
    # left
    "left": "Was dieses Gerät verlassen hat",
    "left_region": "Was das Gerät verlassen hat, je Nutzung",
    "left_caption": "Berichte je Nutzung: jedes Byte davon",
    "reports": "Berichte",
    "bytes_each": "Bytes je Bericht",
    "bytes": "Bytes",
    "together": "Zusammen",
    "left_never": "dafür verlässt nie etwas das Gerät",
    "left_none": "bisher nichts",
    "left_each": "{mean} im Mittel",
    "left_what": "Ein Bericht besteht aus Zahlen unter einer zufälligen Maske, dem für einen zweiten Dienst "
    "versiegelten Schlüssel zur Maske und einer Signatur. Keiner der Dienste kann ihn lesen; lesen können sie die "
    "verrauschte Summe über viele Geräte. Viele Berichte sind leer, das entscheidet ein verborgener Münzwurf auf "
    "Ihrem Gerät; sie sehen genauso aus und sind hier mitgezählt.",
    "left_beside": "Außer Berichten sendet Ihr Gerät dem Server der Website seinen öffentlichen Schlüssel, jedes Ja "
    "und jedes zurückgenommene Ja, signiert, und stellt ihm dieselbe Frage wie jedes andere Gerät: ob es etwas zu tun "
    "gibt. Die Datenschutzstelle fragt es, ob eine Studie gestoppt ist, und sagt ihr, welche Berichte Sie "
    "zurückgenommen haben.",
    # budget
    "budget": "Privatsphäre-Budget",
    "budget_spent": "Verbraucht, wenn die beiden Dienste getrennt bleiben",
    "budget_meter": "Verbrauchtes Budget",
    "budget_unit": "Je Person und Gerät, über beliebige {days} Tage, zero-out, δ {delta}.",
    "budget_local": "Wenn die beiden Dienste zusammenarbeiten",
    "local": "lokales ε {figure}",
    "local_none": "keines",
    "local_unit": "Je Trainingszeile, zero-out, δ {delta}",
    "local_sum": ": die Summe über die Studien, die hier trainiert haben, da sie dieselben Zeilen nutzen ({studies}). "
    "Jede Studie hat eine eigene Grenze, die Summe hat keine",
    "local_covers": ". Es schützt nur Modelländerungen; andere Berichte könnten sie lesen.",
    "local_nothing": "Hier wurde kein Modell mit eigenem Rauschen trainiert; zusammen könnten sie also einzelne "
    "Berichte lesen.",
    "budget_means": "Die erste Zahl begrenzt, was irgendjemand aus allem, was je veröffentlicht wird, über Sie "
    "erfahren kann: Was immer man daraus schließt, ist höchstens {spent}-mal so wahrscheinlich, wie wenn alle Ihre "
    "Berichte leer gewesen wären, bis auf eine Wahrscheinlichkeit von etwa {delta}. Sie kann ε {cap} ({most}-mal) nie "
    "übersteigen: Ist das Budget verbraucht, sind Ihre Berichte leer.",
    "factor_any": "beliebig viele",
    "budget_lifetime": "seit Beginn; das ist eine Angabe, keine Grenze.",
    "budget_damaged": "Die Aufzeichnung über den Verbrauch ist beschädigt oder stammt aus einer Kopie; daher gilt "
    "alles als verbraucht.",
    "budget_none": "Von diesem Gerät wurde noch nichts erfragt, und nichts ist verbraucht.",
    # limits
    "limits": "Was nicht versprochen wird",
    "limit_here": "Der Server der Website läuft auf demselben Gerät wie dieser Agent. Wenn er will, kann er erfahren, "
    "womit Ihr Browser sich ausweist, diese Seite lesen, auf ihr für Sie antworten und einen fremden Browser für "
    "Ihren gelten lassen. Diese Betriebsart ist zum Ausprobieren da.",
    "limit_site": "Die Website sieht die Seiten, die Sie bei ihr abrufen, und ein eigenes Skript könnte beobachten, "
    "was Sie darauf tun. Dieser Agent hilft dabei nicht und verhindert es nicht.",
    "limit_page": "Was eine Seite Ihnen zeigt, das weiß diese Seite, und sie kann daraus schließen, welcher Gruppe "
    "Sie zugeordnet wurden.",
    "limit_server": "Der Server der Website sieht, dass dieses Gerät teilnimmt, wozu Sie Ja gesagt haben und wann es "
    "etwas sendet.",
    "limit_devices": "Mit mehreren Geräten haben Sie auf jedem ein Budget, und diese addieren sich.",
    "limit_sums": "Was schon in einer veröffentlichten Summe steckt, lässt sich nicht wieder herausnehmen.",
    # everything
    "everything": "Alles, was der Agent über Sie weiß",
    "everything_lead": "Soeben von diesem Gerät gelesen. Geheimnisse wie Ihr Signaturschlüssel fehlen; die letzte "
    "Tabelle sagt, welche und warum.",
    "everything_empty": "Nichts.",
    "everything_rows": "Zeilen {first} bis {last}",
    "everything_rest": "Alles aus „{title}“ zeigen",
    "everything_tables": "Tabellen",
    "everything_earlier": "Vorige Zeilen",
    "everything_later": "Weitere Zeilen",
    "everything_back": "Zurück zu Ihrer Seite",
    "true": "ja",
    "false": "nein",
    # erasing
    "erase": "Alles über Sie löschen?",
    "erase_what": "Das nimmt jedes Ja auf jeder Website hinter diesem Agenten zurück und löscht von diesem Gerät:",
    "erase_events": "alles Gesammelte und was Ihr Gerät daraus geschlossen hat",
    "erase_choices": "Ihre Entscheidungen, deren Signaturen und Ihre Schlüssel, Ihren Namen und die Browser, die Sie "
    "als Ihre bezeichnet haben",
    "erase_queue": "Berichte, die das Gerät noch nicht verlassen haben, und die Liste der übrigen",
    "erase_not": "Was bleibt, und warum:",
    "erase_spent": "wie viel von Ihrem Privatsphäre-Budget verbraucht ist, unter einem Pseudonym und ohne Ende: Das "
    "schützt Sie weiter. Wer den Speicher dieses Geräts öffnet, könnte einen Namen, den er rät, daran prüfen",
    "erase_told": "was Sie zurückgenommen haben, ohne Ihren Namen, bis die Dienste es bestätigt haben",
    "erase_proof": "Ihre signierten Entscheidungen beim Betreiber der Website, als Nachweis, solange es deren "
    "Datenschutzhinweise sagen",
    "erase_sums": "schon veröffentlichte Summen: Was in ihnen steckt, lässt sich nicht herausnehmen",
    "erase_first": "Vielleicht möchten Sie vorher eine Kopie mitnehmen.",
    "erase_final": "Es lässt sich nicht rückgängig machen.",
    "erase_yes": "Alles löschen",
    "erase_no": "Alles behalten",
    "erased": "Was dieses Gerät über Sie aufbewahrt hat, ist gelöscht",
    "erased_more": "Hier bleibt: wie viel vom Privatsphäre-Budget verbraucht ist, unter einem Pseudonym, und was Sie "
    "zurückgenommen haben, ohne Ihren Namen, bis die Dienste es bestätigt haben. Die Dienste erfahren es, sobald sie "
    "antworten. Der Betreiber der Website behält Ihre signierten Entscheidungen als Nachweis, solange es deren "
    "Datenschutzhinweise sagen.",
}

RULES: Final[Mapping[str, str]] = {
    "granted": "An, weil Sie Ja gesagt haben.",
    "unknown_gate": "Aus: Hier fragt nichts auf diese Weise danach.",
    "unknown_purpose": "Aus: Diese Nutzung gibt es nicht.",
    "nothing_leaves": "Dafür verlässt nie etwas dieses Gerät.",
    "child": "Aus: Ein Kind ist hier, und Kinder bekommen kein Profil.",
    "person_unknown": "Aus: Niemand hat gesagt, wer hier ist.",
    "ledger_faulty": "Aus: Die Aufzeichnung Ihrer Entscheidungen auf diesem Gerät ist beschädigt, daher zählt kein "
    "Ja. Bitte antworten Sie erneut.",
    "not_granted": "Aus, weil Sie nicht geantwortet haben. Von Anfang an ist alles aus.",
    "declined": "Aus, weil Ihre letzte Antwort Nein war.",
    "purpose_changed": "Aus: Seit Ihrem Ja hat sich geändert, wozu es dient. Bitte lesen Sie es noch einmal und "
    "antworten Sie.",
    "expired": "Aus: Ihr Ja ist zu alt. Bitte antworten Sie erneut.",
    "clock_before_receipt": "Aus: Die Uhr dieses Geräts zeigt eine Zeit vor Ihrem Ja, daher lässt sich sein Alter "
    "nicht bestimmen.",
    "gpc_opt_out": "Aus: Ihr Browser hat Global Privacy Control gesendet, und Sie haben hier seitdem nicht Ja gesagt.",
}

EVENTS: Final[Mapping[str, str]] = {
    "page_view": "Seitenaufrufe",
    "click": "Klicks",
    "scroll": "Scrollen",
    "dwell": "Zeit auf einer Seite",
    "search": "Suchen",
    "custom": "andere Ereignisse",
    "add_to_cart": "in den Warenkorb gelegt",
    "remove_from_cart": "aus dem Warenkorb genommen",
    "purchase": "Käufe",
}
