"""The word space: nonsense words of four or five letters, split into three lexicons that share no word.

A word is an opening ("fem") and an ending ("ol"). The bundled tokenizer gives each of the two one token,
so a word is always two tokens and no word is easier than another. A stable hash of the whole word puts it
into one lexicon: what the bundled model is pretrained on, what its skill is watched on, what the study uses.

The openings were chosen so that none is an English word and none makes one with any of the endings
(checked against a dictionary of 100,000 words), so a hub model does not know the words either.

For a model that reads English the words are names, "Tazdon": a syllable, two consonants that no English word has in
its middle, and a syllable. Any two of a world differ in three letters or more.
"""

import functools
import hashlib
import random
from operator import ne
from typing import NamedTuple

OPENINGS = tuple(
    """
    baf bam bap bav bax baz bek bem bep ber bex bez bif bim biv bix biz bof bok bom bov buf buk bul
    bup buv buz daf dag dap das dax ded dek dep des dex dez dib dif dil dit diz dob dof dok dox duf
    dul dut duv dux duz fab faf fal fas fef feg fek fep fes fex fik fim fip fis fiz fod fof fok fol
    fom fon fos fot fov foz fub fuf fug ful fup fuv fux gaf gak gan gar gax geb gef geg gek gep ges
    gev gex gez gik gim gip gir gis git gix gok gos gox goz gub gud guf gug guk gup guv gux guz hap
    hax hed hef hek het hev hez hib hif hig hil hix hiz hof hox hoz huf huk hup huv hux huz jaf jal
    jat jax jaz jeb jef jeg jek jel jem jen jep jev jex jez jid jif jik jip jir jis jit jix jof jol
    jom jop jor jox joz juf juk jum jup jus juv jux juz kad kaf kag kak kas kav kax keb ked kef kek
    kel kem kep kes kex kez kib kif kig kis kiv kix kiz kof kog kol kom kon kos kot kov kox koz kub
    kuf kug kul kum kun kup kur kus kut kuv kux laf lal leb lef lek ler lez lig lof loz lud luf lum
    lus luv lux maf meb mef mek mep mev mex mez mib mif mip miv mof mok mox moz mub muf muk mup muv
    mux naf nal nar nax neb nef nek nel nem nen nes nez nid nif nim nir niv niz nof nog nok nox noz
    nuf nug nul num nup nur nus nuv nux nuz pab paf pak pax paz peb pef pek pem pev pex pez pib pid
    pif pim pir piv piz pob pof pom pov pud puf pul puv pux ral ras rax rek ret rez rik rin rir rix
    rof ror rox roz ruk rup ruv rux ruz saz seb sef sek ses sez sib sif sig sik sog sok sov soz sul
    sut sux suz taf tav taz teb tef teg tek tem tes tev tez tif tis tiv tix tiz tob tol tos tov toz
    tuf tuk tus tuv tuz vab vaf vak vam vav vaz veb vef vek vem vep ves vev vez vif vik vob vod vof
    vog vok vom von vop vor vos vov vox voz vub vud vuf vug vuk vul vum vun vup vur vus vut vuv vux
    vuz wab wam wap waz wef weg wek wel wem wep wev wex wib wim wix wob wod wof wog wol wop wos wox
    woz wub wud wuf wug wuk wul wum wun wup wur wus wut wuv wux wuz yab yad yaf yag yan yar yas yav
    yax yaz yeb yed yef yeg yek yel yer yev yex yez yib yid yif yig yik yil yim yin yir yis yit yiv
    yix yiz yob yof yol yom yop yos yot yov yox yoz yub yud yuf yun yus yut yuv yux yuz zab zad zaf
    zag zak zal zam zas zat zav zax zaz zef zeg zem zep zes zev zex zez zid zif zig zik zil zim zin
    zir zis ziv zix ziz zob zod zof zog zok zom zop zor zos zot zov zox zoz zub zud zuf zug zum zup
    zur zus zut zuv zux zuz
    """.split()
)
ENDINGS = tuple("a e i o u".split()) + tuple(v + c for v in "aeiou" for c in "dfgklmnprsvxz")


NAME_PARTS = (
    "bdfghjklmnprstvwz",
    "aeiou",
    "zd zg zl zm zn zr zb vl vd vn bv mv tv gv kz dv mz lz".split(),
    "aeiou",
    "nrmkltpdgb",
)
LETTERS_APART = 3  # between any two names
TRIES = 20_000


class Lexicon(NamedTuple):
    """A part of the word space to draw words from.

    Attributes:
        name: "pretraining", "validation" or "study".
        openings: how many openings are in use, evenly spaced over all.
        english: whether words are names for a model that reads English.
    """

    name: str
    openings: int = len(OPENINGS)
    english: bool = False


PRETRAINING, VALIDATION, STUDY = Lexicon("pretraining"), Lexicon("validation"), Lexicon("study")

# Two of four residues go to pretraining: it needs the most words.
_BY_RESIDUE = (PRETRAINING.name, PRETRAINING.name, VALIDATION.name, STUDY.name)


def lexicon_of(word: str) -> str:
    """The lexicon's name of a word: two bits of its SHA-256, the same on every machine and in every process."""
    return _BY_RESIDUE[hashlib.sha256(word.encode()).digest()[0] % 4]


@functools.cache
def _words(lexicon: Lexicon) -> tuple[tuple[str, ...], ...]:
    """For each opening in use the words of the lexicon; looked up, since pretraining draws millions."""
    openings = [OPENINGS[k * len(OPENINGS) // lexicon.openings] for k in range(lexicon.openings)]
    return tuple(tuple(o + e for e in ENDINGS if lexicon_of(o + e) == lexicon.name) for o in openings)


def draw_words(rng: random.Random, count: int, lexicon: Lexicon) -> list[str]:
    """Draw `count` words of a lexicon, no two with the same opening as long as there are enough.

    Raises:
        ValueError: if `count` exceeds twice the number of openings in use.
    """
    if lexicon.english:
        return _draw_names(rng, count, lexicon)
    if count <= lexicon.openings:
        return [rng.choice(words) for words in rng.sample(_words(lexicon), count)]
    if count > 2 * lexicon.openings:
        raise ValueError(
            f"a world needs {count} words, but only {lexicon.openings} openings are in use, each for two words at "
            "most; use fewer entities"
        )
    twice = set(rng.sample(range(lexicon.openings), count - lexicon.openings))
    drawn = [word for k, words in enumerate(_words(lexicon)) for word in rng.sample(words, 1 + (k in twice))]
    return rng.sample(drawn, count)


def _draw_names(rng: random.Random, count: int, lexicon: Lexicon) -> list[str]:
    names: list[str] = []
    for _ in range(TRIES):
        if len(names) == count:
            return names
        name = "".join(map(rng.choice, NAME_PARTS)).capitalize()
        apart = all(sum(map(ne, name, other)) >= LETTERS_APART for other in names)
        if lexicon_of(name) == lexicon.name and apart:
            names.append(name)
    raise ValueError(
        f"a world needs {count} names, but no more than {len(names)} unlike ones were found; use fewer entities"
    )
