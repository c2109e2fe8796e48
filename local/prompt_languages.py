"""What the prompt lists of the five languages need before their texts say what is spoken.

The lists were typed by different people: some lack accents, some were saved in a wrong encoding, some lines hold two
prompts or the wrong key. Everything here is about one list; what holds for all is in prompt_text.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Language:
    """The particulars of one list.

    symbols: character or piece of text -> the words said for it.
    fragments: spelling errors by piece of lower-case text, replaced wherever they occur.
    words: spelling errors by whole word, replaced after everything else.
    lines: wrong line of the list -> right line.
    unreliable: keys whose line does not say what is spoken (another language, a description of a sound).
    decimal_marks: what may stand between the whole and the broken part of a number.
    """

    credit: str
    licence: str
    symbols: Mapping[str, str] = field(default_factory=dict)
    fragments: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)
    unreliable: frozenset[str] = frozenset()
    decimal_marks: str = "."


def _pairs(text: str) -> dict[str, str]:
    """`wrong=right` words, separated by spaces."""
    return dict(pair.split("=") for pair in text.split())


# Two recordings of one person count as one speaker, who has the name of the voice on the right.
SAME_PERSON = {"es_MX_f_Allison": "en_US_f_Allison"}

_ALLISON = "Allison Smith, (c) 2003-2010, with financial contributions by Digium, Inc."
_BY_SA = "CC BY-SA 3.0"
_BY = "CC BY 3.0"

LANGUAGES = {
    "en": Language(
        credit=_ALLISON,
        licence=_BY_SA,
        symbols={"#": " pound ", "*": " star ", "www.": "w w w dot ", ".org": " dot org "},
        fragments={
            "exclaimation": "exclamation",
            "fourtieth": "fortieth",
            "represenatives": "representatives",
            "umute": "unmute",
            "un-indentified": "unidentified",
            "witheld": "withheld",
        },
    ),
    "es": Language(
        credit=_ALLISON,
        licence=_BY_SA,
        symbols={"www.": " www punto ", ".org": " punto org "},
        fragments={
            "esta a punto": "está a punto",
            "esta configurado": "está configurado",
            "esta en la": "está en la",
            "esta fuera": "está fuera",
            "esta libre": "está libre",
            "esta ocupada": "está ocupada",
            "esta terriblemente": "está terriblemente",
            "esta usando": "está usando",
            "esta usted": "está usted",
            "no esta disponible": "no está disponible",
            "paracambiar": "para cambiar",
            "atravez": "a través",
            " ó ": " o ",
            "mudo mudo": "modo mudo",
            "an adelante": "en adelante",
            "se quien": "sé quién",
            "a que carpeta": "a qué carpeta",
            "en que carpeta": "en qué carpeta",
        },
        # Most of this list was typed without accents; the ones below are in every text by the same rule.
        words=_pairs(
            "atras=atrás aun=aún autenticacion=autenticación ayudaran=ayudarán busqueda=búsqueda buzon=buzón "
            "codigo=código comenzara=comenzará comprendi=comprendí conexion=conexión configuracion=configuración "
            "contrasena=contraseña contrasenas=contraseñas contrasenia=contraseña decimo=décimo defeto=defecto "
            "demonstracion=demostración demostracion=demostración despues=después dieciseis=dieciséis "
            "digitos=dígitos dolar=dólar dolares=dólares duodecimo=duodécimo duracion=duración entidade=entidades "
            "escucharas=escucharás estan=están estandar=estándar esten=estén exclamacion=exclamación "
            "extension=extensión fisico=físico grabacion=grabación guiare=guiaré guion=guión "
            "informacion=información ingese=ingrese ingresara=ingresará intentare=intentaré "
            "introduccion=introducción introdusca=introduzca invalida=inválida invalido=inválido japon=japón "
            "lider=líder linea=línea logre=logré manana=mañana maria=maría mas=más menu=menú mesaje=mensaje "
            "miercoles=miércoles millon=millón minimos=mínimos modem=módem navegara=navegará nimbre=nombre "
            "numbre=nombre numerico=numérico numero=número opcion=opción proposito=propósito proximo=próximo "
            "rapidamente=rápidamente reproduccion=reproducción sabado=sábado septimo=séptimo sera=será "
            "tambien=también tecleo=tecleó tecnica=técnica telefonico=telefónico telefono=teléfono tendra=tendrá "
            "trigesimo=trigésimo trés=tres ultimo=último undecimo=undécimo unica=única unira=unirá uniran=unirán "
            "util=útil vacias=vacías valido=válido veintidos=veintidós veintiseis=veintiséis "
            "veintitres=veintitrés victor=víctor vigesimo=vigésimo"
        ),
        lines={
            "digits/0: diez": "digits/10: diez",
            "digits/1f: una": "digits/1F: una",
            "digits/1m: un": "digits/1M: un",
            "digits/21-and: veinti": "digits/20-and: veinti",
        },
        # "[temporales]": said or not? vm-mismatch is too short for its text by half.
        unreliable=frozenset({"vm-tempgreetactive", "vm-mismatch"}),
        decimal_marks=".,",
    ),
    "fr": Language(
        credit="June Wallack, (c) 2006-2008, translated by Clod Patry, Kristopher Lalletti and June Wallack, with "
        "financial contributions by Digium, Inc., Unlimitel and BGM Informatique",
        licence=_BY_SA,
        symbols={"#": " dièse ", "*": " étoile "},
        fragments={
            "ce tte": "cette",
            "autorise a joindre": "autorisé à joindre",
            "toujours envoyez": "toujours envoyé",
            "votre votre": "votre",
            " a votre": " à votre",
            "essayer a nouveau": "essayer à nouveau",
            "a partir": "à partir",
            "mise a jour": "mise à jour",
            " a l'avenir": " à l'avenir",
            "a l'extension": "à l'extension",
            "a ete atteinte": "a été atteinte",
            "appel etait": "appel était",
            "n'etes": "n'êtes",
            "peut pas etre rappler": "peut pas être rappelé",
            "vous etes": "vous êtes",
            "l'ecouter": "l'écouter",
            "d'acceuil": "d'accueil",
        },
        words=_pairs(
            "abregée=abrégée appellant=appelant boite=boîte conctact=contact connection=connexion "
            "desirez=désirez desole=désolé desolé=désolé dévérouiller=déverrouiller dévérouillée=déverrouillée "
            "déverouillée=déverrouillée démontration=démonstration echo=écho enleve=enlevé etre=être étez=été étés=été "
            "felicitation=félicitations numero=numéro occupes=occupés pous=pour premieres=premières "
            "presentement=présentement présentemnet=présentement problemes=problèmes reessayer=réessayer "
            "simultane=simultané telephone=téléphone telephoner=téléphoner verouillée=verrouillée "
            "vérouiller=verrouiller vérouillée=verrouillée vérrouiller=verrouiller"
        ),
        # "eeks"; vm-mismatch is too short for its text by half.
        unreliable=frozenset({"spy-iax2", "vm-mismatch"}),
        decimal_marks=".,",
    ),
    "it": Language(
        credit="Carlo Flora, (c) 2012, translated by Silvia Petrin",
        licence=_BY,
        symbols={"www.": " www punto ", ".org": " punto org "},
        # Where accents became question marks, and apostrophes stand for them.
        fragments={
            " ? ": " è ",
            "cos? ": "così ",
            "pi? ": "più ",
            "pu? ": "può ",
            "sar? ": "sarà ",
            "e' impostato": "è impostato",
            "e' in uso": "è in uso",
            "emme-iessedienne": "",
        },
        lines={
            "letters/O: O": "letters/o: o",
            "phonetic/C_P: c come como": "phonetic/c_p: c come como",
        },
        unreliable=frozenset(
            {
                # Sounds, described without brackets.
                *("beep", "beeperr", "confbridge-join", "confbridge-leave"),
                # "[quello]", "[suo]", "[tentativo di]": said or not? "is" is not Italian.
                *("invalid", "is", "pbx-invalid", "pbx-parkingfailed", "vm-msgsaved"),
            }
        ),
        decimal_marks=".,",
    ),
    "ru": Language(
        credit="Maxim Topal, (c) 2010",
        licence=_BY,
        symbols={"www.": " www точка ", ".org": " точка org "},
        fragments={
            "ё": "е",  # both are written, for the same word: one of them here
            "первoe": "первое",  # two Latin letters in it
            "взездочка": "звездочка",
            "демонтрационным": "демонстрационным",
            "завршить": "завершить",
            "октрября": "октября",
            "увеличиения": "увеличения",
            "что бы": "чтобы",
            "чтобы бы": "чтобы",
            "за тем нажмите": "затем нажмите",
            "по-этому": "поэтому",
            "по прежнему": "по-прежнему",
        },
        decimal_marks=".,",
    ),
}
