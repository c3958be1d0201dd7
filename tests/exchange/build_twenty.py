"""Builds tests/data/twenty.mrc and twenty.xml: twenty records of old books, their facts common knowledge.

Run `python -m tests.exchange.build_twenty` from the root after a change; a test holds the files to this module.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

from pymarc import Record
from pymarc.marcxml import record_to_xml_node

from .making import record

DATA = Path(__file__).parent.parent / "data"
NAMESPACE = "http://www.loc.gov/MARC21/slim"

# Each line of a record: tag, two indicators ("_" is a blank), subfields behind "$"; the first line gives leader/06-07,
# the year as 008 has it, the country and the language.
TWENTY = """
am 1851 nyu eng
100 1_ $aMelville, Herman,$d1819-1891.
245 10 $aMoby-Dick, or, The whale /$cby Herman Melville.
260 __ $aNew York :$bHarper & Brothers ;$aLondon :$bRichard Bentley,$c1851.
300 __ $axxiii, 635 p. ;$c20 cm.
650 _0 $aWhaling$vFiction.
650 _0 $aShip captains$vFiction.
650 _1 $aWhales$vFiction.
655 _7 $aSea stories.$2lcgft

am 2003 enk eng
020 __ $a9780141439518 (pbk.)
020 __ $a0-14-143951-3 (pbk.)
020 __ $a0141439514 (wrong check digit)
100 1_ $aAusten, Jane,$d1775-1817.
245 10 $aPride and prejudice /$cJane Austen ; edited with an introduction and notes by Vivien Jones.
264 _1 $aLondon :$bPenguin Books,$c2003.
264 _4 $c©1996
490 1_ $aPenguin classics
650 _0 $aSisters$zEngland$vFiction.
700 1_ $aJones, Vivien,$eeditor.
830 _0 $aPenguin classics.

am 1859 enk eng
100 1_ $aDarwin, Charles,$d1809-1882.
245 10 $aOn the origin of species by means of natural selection, or, The preservation of favoured races in the \
struggle for life /$cby Charles Darwin.
260 __ $aLondon :$bJohn Murray,$c1859.
300 __ $aix, 502 p. :$b1 folded diagram ;$c20 cm.
650 _0 $aEvolution (Biology)
650 _0 $aNatural selection.

am 1862 be_ fre
100 1_ $aHugo, Victor,$d1802-1885.
245 14 $aLes misérables /$cpar Victor Hugo.
260 __ $aBruxelles :$bA. Lacroix, Verboeckhoven & Cie,$c1862.
300 __ $a10 v.
651 _0 $aParis (France)$xHistory$yJune Rebellion, 1832$vFiction.

am 1857 fr_ fre
100 1_ $aFlaubert, Gustave,$d1821-1880.
245 10 $aMadame Bovary :$bmœurs de province /$cpar Gustave Flaubert.
260 __ $aParis :$bMichel Lévy frères,$c1857.
300 __ $a2 v. (490 p.)
650 _0 $aAdultery$vFiction.

am 1605 sp_ spa
100 1_ $aCervantes Saavedra, Miguel de,$d1547-1616.
245 13 $aEl ingenioso hidalgo don Quixote de la Mancha /$ccompuesto por Miguel de Ceruantes Saauedra.
260 __ $aEn Madrid :$bpor Iuan de la Cuesta,$c1605.
600 10 $aDon Quixote (Fictitious character)$vFiction.

am 1868 ru_ rus
100 1_ $6880-01$aTolstoy, Leo,$cgraf,$d1828-1910.
245 10 $6880-02$aVoĭna i mir /$csochinenīe grafa L.N. Tolstogo.
260 __ $6880-03$aMoskva :$bTip. T. Ris,$c1868-1869.
300 __ $a6 v.
651 _0 $aRussia$xHistory$yAlexander I, 1801-1825$vFiction.
880 1_ $6100-01/(N$aТолстой, Лев Николаевич,$cграф,$d1828-1910.
880 10 $6245-02/(N$aВойна и миръ /$cсочиненіе графа Л.Н. Толстого.
880 __ $6260-03/(N$aМосква :$bТип. Т. Рисъ,$c1868-1869.

am 1808 gw_ ger
100 1_ $aGoethe, Johann Wolfgang von,$d1749-1832.
245 10 $aFaust :$beine Tragödie /$cvon Goethe.
260 __ $aTübingen :$bin der J.G. Cotta'schen Buchhandlung,$c1808.
300 __ $a309 p.
600 00 $aFaust,$dapproximately 1480-approximately 1540$vDrama.

am 1781 lv_ ger
100 1_ $aKant, Immanuel,$d1724-1804.
245 10 $aCritik der reinen Vernunft /$cvon Immanuel Kant.
260 __ $aRiga :$bverlegts Johann Friedrich Hartknoch,$c1781.
300 __ $a[22], 856 p.
650 _0 $aKnowledge, Theory of.
650 _0 $aReason.
650 _7 $aErkenntnistheorie.$2gnd

am 1791 cc_ chi
100 1_ $6880-01$aCao, Xueqin,$dapproximately 1717-1763.
245 10 $6880-02$aHong lou meng :$b120 hui /$cCao Xueqin, Gao E.
260 __ $6880-03$aBeijing :$bCui wen shu wu,$cQianlong xin hai [1791]
700 1_ $6880-04$aGao, E,$dapproximately 1738-approximately 1815.
880 1_ $6100-01/$1$a曹雪芹,$dapproximately 1717-1763.
880 10 $6245-02/$1$a紅樓夢 :$b120回 /$c曹雪芹, 高鶚.
880 __ $6260-03/$1$a北京 :$b萃文書屋,$c乾隆辛亥 [1791]
880 1_ $6700-04/$1$a高鶚,$dapproximately 1738-approximately 1815.

am 1905 ja_ jpn
100 1_ $6880-01$aNatsume, Sōseki,$d1867-1916.
245 10 $6880-02$aWagahai wa neko de aru /$cNatsume Kinnosuke cho.
260 __ $6880-03$aTōkyō :$bŌkura Shoten,$c1905-1907.
300 __ $a3 v.
650 _0 $aCats$vFiction.
880 1_ $6100-01/$1$a夏目漱石,$d1867-1916.
880 10 $6245-02/$1$a吾輩は猫である /$c夏目金之助著.
880 __ $6260-03/$1$a東京 :$b大倉書店,$c1905-1907.

am 1835 ua_ ara
245 00 $6880-01$aAlf laylah wa-laylah.
260 __ $6880-02$aBūlāq :$bMaṭbaʻat Būlāq,$c1251 [1835]
300 __ $a2 v.
630 00 $aArabian nights.
880 00 $6245-01/(3/r$aألف ليلة وليلة.
880 __ $6260-02/(3/r$aبولاق :$bمطبعة بولاق،$c1251 [1835]

am 1719 enk eng
100 1_ $aDefoe, Daniel,$d1661?-1731.
245 14 $aThe life and strange surprizing adventures of Robinson Crusoe, of York, mariner: who lived eight and \
twenty years, all alone in an un-inhabited island on the coast of America, near the mouth of the great river of \
Oroonoque; having been cast on shore by shipwreck, wherein all the men perished but himself. With an account how he \
was at last as strangely deliver'd by pyrates. Written by himself.
260 __ $aLondon :$bprinted for W. Taylor,$c1719.
300 __ $a364 p.
600 10 $aCrusoe, Robinson (Fictitious character)$vFiction.
650 _0 $aSurvival after airplane accidents, shipwrecks, etc.$vFiction.

am 1866 enk eng
100 1_ $aCarroll, Lewis,$d1832-1898.
245 10 $aAlice's adventures in Wonderland /$cby Lewis Carroll ; with forty-two illustrations by John Tenniel.
260 __ $aLondon :$bMacmillan and Co.,$c1866.
300 __ $a192 p.
650 _0 $aFantasy fiction, English.
700 1_ $aTenniel, John,$cSir,$d1820-1914,$eill.

am 1818 enk eng
100 1_ $aShelley, Mary Wollstonecraft,$d1797-1851.
245 10 $aFrankenstein, or, The modern Prometheus :$bin three volumes.
260 __ $aLondon :$bprinted for Lackington, Hughes, Harding, Mavor, & Jones,$c1818.
300 __ $a3 v.
520 __ $aA student of natural philosophy gives life to a being of his own making, and abandons it.
650 _0 $aScientists$vFiction.
650 _0 $aMonsters$vFiction.

am 1859 enk eng
100 0_ $aOmar Khayyam.
240 10 $aRubāʻīyāt.$lEnglish
245 10 $aRubáiyát of Omar Khayyám, the astronomer-poet of Persia /$ctranslated into English verse.
260 __ $aLondon :$bBernard Quaritch,$c1859.
300 __ $axiii, 21 p.
700 1_ $aFitzGerald, Edward,$d1809-1883.$4trl

cm 1826 gw_ fre
100 1_ $aBeethoven, Ludwig van,$d1770-1827.$ecomposer.
240 10 $aSymphonies,$nno. 5, op. 67,$rC minor
245 10 $aCinquième sinfonie en ut mineur.$nOeuvre 67 :$bpartition /$cde Louis van Beethoven.
260 __ $aLeipsic :$bBreitkopf & Härtel,$c[1826]
300 __ $a1 score
650 _0 $aSymphonies$vScores.

em 1569 gw_ lat
100 1_ $aMercator, Gerhard,$d1512-1594.
245 10 $aNova et aucta orbis terrae descriptio ad usum navigantium emendate accommodata /$cGerardus Mercator.
260 __ $aDuisburgi,$c1569.
650 _0 $aWorld maps$vEarly works to 1800.

am 145u gw_ lat
130 0_ $aBible.$lLatin.$sVulgate.
245 10 $a[Biblia latina].
260 __ $a[Mainz :$bJohann Gutenberg,$c145-?]
300 __ $a2 v.
630 00 $aBible$vEarly works to 1800.
655 _7 $aIncunabula.$2rbgenr

am 1771 stk eng
110 2_ $aSociety of Gentlemen in Scotland.
245 10 $aEncyclopædia Britannica, or, A dictionary of arts and sciences, compiled upon a new plan /$cby a Society of \
Gentlemen in Scotland.
260 __ $aEdinburgh :$bprinted for A. Bell and C. Macfarquhar,$c1771.
300 __ $a3 v.
650 _0 $aEncyclopedias and dictionaries$vEarly works to 1800.
700 1_ $aSmellie, William,$d1740-1795,$eed.
""".replace("\\\n", "")


def twenty() -> list[Record]:
    """The records, numbered lib00000001 to lib00000020."""
    return [_record(number, text.splitlines()) for number, text in enumerate(TWENTY.strip().split("\n\n"), 1)]


def as_mrc() -> bytes:
    """The records as one file of ISO 2709."""
    return b"".join(one.as_marc() for one in twenty())


def as_xml() -> bytes:
    """The records as one file of MARCXML."""
    lines = [ET.tostring(record_to_xml_node(one), encoding="unicode") for one in map(_as_sent, twenty())]
    body = "\n".join(lines)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<collection xmlns="{NAMESPACE}">\n{body}\n</collection>\n'.encode()


def _as_sent(one: Record) -> Record:
    """The record as it reads after a journey through ISO 2709, its lengths in the leader."""
    return Record(one.as_marc())


def _record(number: int, lines: list[str]) -> Record:
    kind, year, country, language = lines[0].split()
    return record(
        f"001 lib{number:08}",
        "003 Library",
        "005 20240101000000.0",
        f"008 240101s{year}    {country.replace('_', ' ')}           000 0 {language} d",
        *lines[1:],
        leader=f"00000n{kind} a2200000 a 4500",
    )


if __name__ == "__main__":
    DATA.joinpath("twenty.mrc").write_bytes(as_mrc())
    DATA.joinpath("twenty.xml").write_bytes(as_xml())
