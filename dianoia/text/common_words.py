"""The most common words of six languages in Latin letters: function words, numbers, words of problem solving.

Short phrases consist of them, and a model that recognizes a language by its letters is least sure of them. The
lists were written for this project. Single plain letters are left out, since in a formula they are names.
"""

COMMON_WORDS = {
    "en": "the of and to is are was were be been it its that this these those with for from by at we you "
    "he she they his her their our my your not but if then so or as on in no do does did done has have had "
    "can could will would should must let check wait now since because therefore however hence thus there "
    "here what which who when where how why many much more less than each every all some any one two three "
    "four five six seven eight nine ten sum number answer first next also again an am me yes",
    "es": "el los las la en de del al un una unos unas que qué es son está están ser sea era fue hay por "
    "para con sin según porque pero pues como cómo cuando donde si sí no más menos muy ya también así "
    "entonces luego después desde hasta entre sobre ahora antes cada todo todos toda todas otro otra este "
    "esta esto estos ese esa eso su sus se lo le nos mi tiene tienen tenemos hemos hacer puede debe vamos "
    "queda quedan uno dos tres cuatro cinco seis siete ocho nueve diez cien suma sumamos calculamos número "
    "números respuesta resultado cuánto cuántos cuántas valor ecuación primero segundo mitad doble "
    "estoy creo espera veamos vale bien cierto falso comprobemos verificamos",
    "fr": "le la les des du de en un une et est sont être était il elle ils elles on nous vous je ce cette "
    "ces cet qui que quoi où dans sur avec sans pour par pas ne plus moins très mais ou donc car parce "
    "alors puis ensuite aussi ainsi comme si tout tous toute toutes chaque autre aux au leur leurs son sa "
    "ses mon ma ai avons avez ont fait faut peut deux trois quatre cinq six sept huit neuf dix cent somme "
    "nombre nombres réponse résultat combien valeur équation premier moitié reste d'abord c'est "
    "attends attendez voyons vérifions calculons vrai faux juste bien",
    "de": "der die das den dem des ein eine einen einem einer eines und ist sind sein war wird werden hat "
    "haben wir ihr sie er es ich nicht kein keine mit ohne für von vom zum zur zu bei aus auf im in an am "
    "über unter nach vor durch aber oder denn weil dass wenn dann also auch noch nur schon sehr mehr als "
    "wie was wer wo so jetzt alle jede jeder jedes zwei drei vier fünf sechs sieben acht neun zehn hundert "
    "summe zahl zahlen antwort ergebnis viele viel wert gleichung zuerst hälfte bleiben bleibt gilt damit "
    "müssen können "
    "warte moment stimmt richtig falsch prüfen rechnen berechnen vielleicht",
    "pt": "os as do da dos das de em no na nos nas um uma uns umas que é são está estão ser foi há por para "
    "com sem mas porque pois como quando onde se sim não mais menos muito já também assim então depois "
    "agora antes cada todo todos toda todas outro outra este esta isto isso esse essa seu sua ele ela eles "
    "nós ao aos à tem têm temos fazer pode deve dois duas três quatro cinco seis sete oito nove dez "
    "cem soma número números resposta resultado quanto quantos quantas valor equação primeiro metade restam "
    "estou acho espere vejamos vamos certo errado verificar calcular bem",
    "it": "il lo la gli le un una uno di del della dei delle degli da dal dalla in nel nella con per tra "
    "fra su sul sulla che è sono essere era ha hanno abbiamo non più meno molto ma perché quindi allora "
    "poi dopo prima adesso ora anche così come quando dove se sì ogni tutto tutti tutte altro altra questo "
    "questa quello si ci ne al alla ai alle due tre quattro cinque sei sette otto nove dieci cento somma "
    "numero numeri risposta risultato quanto quanti quante valore equazione primo metà restano deve può "
    "possiamo "
    "aspetta vediamo verifichiamo calcoliamo giusto sbagliato bene forse",
}  # fmt: skip
"""Words by ISO 639-1 code, in lower case, separated by blanks."""

ALSO_ENGLISH = (
    "also alle am an as at car cent come des die do dos falso fare faux hat in la le lo ma me mi moment no on or ora pas per "
    "plus pour prima sa se sea see sei sept si six sole son sur te ton tout un vale valor war was"
)
"""Words such as those above that an English text may also contain: they do not point to another language."""
