"""The worlds' logic once more, for clingo: written from the definitions, not from the rules under test."""

import clingo

# Kinship by what the words mean. Half-siblings count; so does every wording of a marriage.
KINSHIP = """
male(X) :- f("gender",X,"man").     female(X) :- f("gender",X,"woman").
male(X) :- f("father",X,_).         female(X) :- f("mother",X,_).
male(X) :- f("husband",X,_).        female(X) :- f("wife",X,_).
female(Y) :- f("husband",_,Y).      male(Y) :- f("wife",_,Y).
par(X,Y) :- f("father",X,Y).        par(X,Y) :- f("mother",X,Y).
mar(X,Y) :- f("husband",X,Y).       mar(X,Y) :- f("wife",X,Y).          mar(Y,X) :- mar(X,Y).
sib(X,Y) :- par(P,X), par(P,Y), X != Y.
grand(X,Z) :- par(X,Y), par(Y,Z), X != Z.
great(X,Z) :- par(X,A), par(A,B), par(B,Z), X != Z.
unc(X,Z) :- sib(X,P), par(P,Z), X != Z.
gunc(X,Z) :- sib(X,G), par(G,P), par(P,Z), X != Z.
cous(X,Y) :- par(P,X), par(Q,Y), sib(P,Q), X != Y.
pil(X,Y) :- par(X,Z), mar(Z,Y), X != Y.
sil(X,Y) :- sib(X,Z), mar(Z,Y), X != Y.    sil(X,Y) :- mar(X,Z), sib(Z,Y), X != Y.
h("gender",X,"man") :- male(X).   h("gender",X,"woman") :- female(X).
h("parent",X,Y) :- par(X,Y).      h("father",X,Y) :- par(X,Y), male(X).   h("mother",X,Y) :- par(X,Y), female(X).
h("child",Y,X) :- par(X,Y).       h("son",Y,X) :- par(X,Y), male(Y).      h("daughter",Y,X) :- par(X,Y), female(Y).
h("sibling",X,Y) :- sib(X,Y).     h("brother",X,Y) :- sib(X,Y), male(X).  h("sister",X,Y) :- sib(X,Y), female(X).
h("grandfather",X,Y) :- grand(X,Y), male(X).         h("grandmother",X,Y) :- grand(X,Y), female(X).
h("grandchild",Y,X) :- grand(X,Y).
h("great-grandfather",X,Y) :- great(X,Y), male(X).   h("great-grandmother",X,Y) :- great(X,Y), female(X).
h("uncle",X,Y) :- unc(X,Y), male(X).                 h("aunt",X,Y) :- unc(X,Y), female(X).
h("nephew",Y,X) :- unc(X,Y), male(Y).                h("niece",Y,X) :- unc(X,Y), female(Y).
h("great-uncle",X,Y) :- gunc(X,Y), male(X).          h("great-aunt",X,Y) :- gunc(X,Y), female(X).
h("cousin",X,Y) :- cous(X,Y).
h("husband",X,Y) :- mar(X,Y), male(X).               h("wife",X,Y) :- mar(X,Y), female(X).
h("father-in-law",X,Y) :- pil(X,Y), male(X).         h("mother-in-law",X,Y) :- pil(X,Y), female(X).
h("son-in-law",Y,X) :- pil(X,Y), male(Y).            h("daughter-in-law",Y,X) :- pil(X,Y), female(Y).
h("brother-in-law",X,Y) :- sil(X,Y), male(X).        h("sister-in-law",X,Y) :- sil(X,Y), female(X).
"""
# A kind has what is said of any kind that it can be traced to.
HIERARCHY = """
up(X,Y) :- f("is a",X,Y).   up(X,Z) :- up(X,Y), f("is a",Y,Z).
h("is a",X,Y) :- up(X,Y).   h(P,X,V) :- f(P,X,V), P != "is a".   h(P,X,V) :- up(X,Y), f(P,Y,V), P != "is a".
"""
INVERSES = "h(R,X,Y) :- f(R,X,Y).   h(Q,Y,X) :- f(R,X,Y), inverse(R,Q)."
NOTHING_MORE = "h(R,X,Y) :- f(R,X,Y)."
# Terms as sets: each region of the Venn diagram of one item's three terms may be inhabited or not.
SYLLOGISM = """
region(A,B,C) :- A = 0..1, B = 0..1, C = 0..1.
{ thing(A,B,C) : region(A,B,C) }.
in(0,A,B,C) :- region(A,B,C), A = 1.   in(1,A,B,C) :- region(A,B,C), B = 1.   in(2,A,B,C) :- region(A,B,C), C = 1.
both(K,L) :- thing(A,B,C), in(K,A,B,C), in(L,A,B,C), K != L.
out(K,L) :- thing(A,B,C), in(K,A,B,C), not in(L,A,B,C), K = 0..2, L = 0..2, K != L.
s("all",K,L) :- K = 0..2, L = 0..2, K != L, not out(K,L).
s("some",K,L) :- both(K,L).
s("no",K,L) :- K = 0..2, L = 0..2, K != L, not both(K,L).
:- f(Q,X,Y), term(X,K), term(Y,L), not s(Q,K,L).
h(Q,X,Y) :- s(Q,K,L), term(X,K), term(Y,L).
"""
# Expressions as nested functions; what each becomes is worked from the inside.
PROCESS = """
sub(E) :- ask(E).   sub(L) :- sub(op(_,L,_)).   sub(R) :- sub(op(_,_,R)).
to(atom(X),atom(Y)) :- sub(atom(X)), f("becomes",X,Y).
to(op(O,L,R),op(O,M,N)) :- sub(op(O,L,R)), f("rule",O,"both"), to(L,M), to(R,N).
to(op(O,L,R),op(O,N,M)) :- sub(op(O,L,R)), f("rule",O,"swap"), to(L,M), to(R,N).
to(op(O,L,R),op(O,M,R)) :- sub(op(O,L,R)), f("rule",O,"left"), to(L,M).
to(op(O,L,R),op(O,L,N)) :- sub(op(O,L,R)), f("rule",O,"right"), to(R,N).
h(E,F) :- to(E,F), ask(E).
"""


def quoted(text: str) -> str:
    return f'"{text}"'


def solve(program: str, mode: str = "auto") -> list[list[clingo.Symbol]]:
    """The h atoms of every model; with mode "cautious" those true in all models, as the last one."""
    control = clingo.Control(["--warn=none", "0", f"--enum-mode={mode}"])
    control.add("base", [], program)
    control.ground([("base", [])])
    models: list[list[clingo.Symbol]] = []
    with control.solve(yield_=True) as handle:
        for model in handle:
            models.append([atom for atom in model.symbols(atoms=True) if atom.name == "h"])
    return models
