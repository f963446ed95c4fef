"""Texts for scoring how faithfully a planner copies: written by hand, apart from the training generator."""

from __future__ import annotations

from difflib import SequenceMatcher

SIMILAR = 0.9
"""A line counts as reproduced from this similarity on (difflib's ratio)."""

TEXTS: tuple[str, ...] = (
    "STOP",
    "Exit 14B\nNewport Beach\nNext right",
    "Grandma's Attic\nAntiques & Curios\nOpen by appointment",
    "WARNING\nShallow water\nNo diving",
    "Platform 9\n18:42 Edinburgh Waverley\nCalling at York and Durham",
    "Quokka Airlines\nBoarding pass\nMs Ingrid Halvorsen\nGate C27 Seat 14F",
    "Happy retirement, Bernard!",
    "Ibuprofen 400 mg\nTake one tablet every eight hours\nDo not exceed three tablets a day",
    "Lost parrot\nGreen with a yellow head\nAnswers to Captain\nReward offered\nCall 555-0182",
    "Nutrition facts\nEnergy 1520 kJ\nFat 12 g\nSugars 31 g\nProtein 6.4 g\nSalt 0.35 g",
    "The Wanderer's Guide\nto Forgotten Rivers\nElspeth Quillfeather",
    "Error 0x80070057\nThe parameter is incorrect\nOK Cancel",
    "Dear Mr Pemberton,\nthank you for the marmalade.\nThe children finished it in a day.\nWarmly,\nOlga",
    "KEEP CLEAR\nAmbulance entrance",
    "Wi-Fi: Moonbase-Guest\nPassword: tangerine77",
    "Croque monsieur 8.50\nQuiche lorraine 7.90\nSoupe du jour 5.20\nTarte tatin 6.10\nCidre 4.00",
    "MISSISSIPPI QUEEN\nRiverboat tours since 1976",
    "Please take a number\nand wait to be called",
    "Thursday: trash\nFriday: recycling\nEvery second Monday: garden waste",
    "Invoice 2024-1187\nWeb design 1,200.00\nHosting 96.00\nVAT 246.24\nBalance 1,542.24",
    "No ball games\nby order of the council",
    "HAZARDOUS MATERIALS\nAuthorised personnel only\nProtective clothing must be worn\nReport spills to extension 4410",
    "Zoe was here 1998",
    "Today we learned:\nfractions\nthe water cycle\nhow to play fair",
    "Maximum load 630 kg\nor 8 persons\nInspection due 03/2027",
    "GELATO\npistachio stracciatella\nhazelnut mango\none scoop 2.20",
    "To be or not to be,\nthat is the question:\nWhether 'tis nobler in the mind to suffer",
    "Fragile\nThis side up\nHandle with care",
    "Yoga with Priyanka\nTuesdays 7pm\nBring your own mat\nFirst class free\nCommunity hall, upstairs",
    "Speed limit 30\nSchool zone\nwhen lights flash",
    "Harvest Festival\nApple pressing\nHay rides\nPumpkin carving\n"
    "Live fiddle music\nSaturday from noon\nParking in the north field",
    "Pull to open\nPush for help",
    "Ref: QX-7741-LB\nCustomer: T. Abernathy\nCollected by courier\nSigned: illegible",
    "Brush your teeth\nfeed the cat\nwater the ferns\ncall the plumber\nbuy stamps",
    "MUSEUM OF CLOCKS\nAdults 11\nConcessions 8\nUnder fives free\nClosed Mondays",
    "Vote Okonkwo\nfor mayor",
    "Rinse with cold watcr\nD0 not bleach\nlron on low heat\nMade in Portugai",
    "lts a girl!\nMatilda Rose\n3.4 kilos\n51 centimetres\nborn at dawn",
    "Beware\nof low\nflying\nowls",
    "Allotment rules\nNo bonfires before six in the evening\nWater butts must be covered\n"
    "Dogs are to be kept on leads\n"
    "Sheds no larger than two metres by two\nRent is due on Lady Day\nThe gate code is changed every month\n"
    "Compost is shared\nBe kind to your neighbours",
)

POSTER_LINES: tuple[str, ...] = (
    "Reduce your risk of coronavirus infection:",
    "Clean hands with soap and water",
    "or alcohol-based hand rub",
    "Cover nose and mouth when coughing and",
    "sneezing with tissue or flexed elbow",
    "Avoid close contact with anyone with",
    "cold or flu-like symptoms",
    "Thoroughly cook meat and eggs",
    "No unprotected contact with live wild",
    "or farm animals",
    "World Health",
    "Organization",
)
"""A real poster as OCR reads it: a last check, in no training data."""


def reproduced(answer: str, lines: tuple[str, ...]) -> int:
    """How many of `lines` the answer holds, each nearly letter for letter."""
    given = [line.strip() for line in answer.splitlines()]
    return sum(any(SequenceMatcher(None, line, other).ratio() >= SIMILAR for other in given) for line in lines)
