import pytest
from sqlalchemy import select, func
from library.database import *
from library.models import *
from library.rules import *
from library.rules import imports, changes, users, catalogue, loans, words
from library.rules.errors import Refused
from library.exchange.records import *
from library.rules.imports import import_batch, OnDuplicate

def R(title="T", cn="", **k): return BookRecord(title, control_number=cn, **k)
def show(name, f):
    try: print(name, "->", f())
    except BaseException as e: print(name, "-> RAISED", type(e).__name__, str(e)[:150])

BAD = {
 "role": R("bad","b",contributors=[ContributorRecord("X","boss")]),
 "kind": R("bad","b",contributors=[ContributorRecord("X",kind="boss")]),
 "material": R("bad","b",material_type="boss"),
 "scheme": R("bad","b",identifiers=[IdentifierRecord("boss","1")]),
 "surrogate": R("bad\ud800","b"),
 "nul": R("bad\0","b"),
 "long": R("x"*2001,"b"),
 "longlang": R("x","b",language="engl"),
 "year31": R("x","b",year=2**31),
 "year63": R("x","b",year=2**63),
 "notitle": R("","b"),
 "dupcontrib": R("x","b",contributors=[ContributorRecord("X"),ContributorRecord("X")]),
 "dupsubj": R("x","b",subjects=["S","S"]),
 "dupident": R("x","b",identifiers=[IdentifierRecord("isbn","1"),IdentifierRecord("isbn","1")]),
}
@pytest.mark.parametrize("od", list(OnDuplicate))
@pytest.mark.parametrize("name", list(BAD))
def test_bad(session, make, now, name, od):
    with transaction(session, True):
        print(name, od)
        show("  new", lambda: [(r.outcome.value, r.reason) for r in import_batch(session, [(1,R("good","g1")),(2,BAD[name]),(3,R("good2","g2"))], od, now)])
    with transaction(session, False): print("   ", session.scalars(select(Book.title)).all()[:3])

@pytest.mark.parametrize("name", list(BAD))
def test_bad_update(session, make, now, name):
    make.book(title="old", control_number="b")
    with transaction(session, True):
        print(name)
        show("  upd", lambda: [(r.outcome.value, r.reason) for r in import_batch(session, [(1,R("good","g1")),(2,BAD[name]),(3,R("good2","g2"))], OnDuplicate.UPDATE, now)])
    with transaction(session, False): print("   ", session.scalars(select(Book.title)).all()[:3])

def test_double_in_batch(session, now):
    with transaction(session, True):
        print("no bad", [r.outcome.value for r in import_batch(session, [(1,R("A","a")),(2,R("A2","a"))], OnDuplicate.UPDATE, now)])
    session.rollback()
    with transaction(session, True):
        print("with bad", [r.outcome.value for r in import_batch(session, [(1,R("A","z")),(2,R("A2","z")), (3,BAD["dupcontrib"])], OnDuplicate.UPDATE, now)])

def test_gen(session, make, now):
    make.book(title="old", control_number="b"); 
    with transaction(session, True): g0=generation(session,"catalogue")
    with transaction(session, True):
        try:
            with session.begin_nested():
                session.add(Subject(name="x",name_key="x")); session.flush(); raise RuntimeError
        except RuntimeError: pass
        session.add(Subject(name="y",name_key="y")); session.flush()
    with transaction(session, False): print("gen", g0, generation(session,"catalogue"))

def test_way(session, make):
    b=make.branch(); c=make.copy(home_branch=b, last_seen_branch_id=b.id)
    print(changes.in_the_way(session,b))
    u=make.user(); make.loan(patron=u, copy=c, checked_out_by_id=u.id)
    print(changes.in_the_way(session,b), changes.in_the_way(session,u))

def test_dup_save(session, make, now):
    a=make.author(); s=make.subject()
    show("dup contributors new", lambda: make.book(a,a))
    session.rollback()
    b=make.book(a, subjects=[s])
    show("dup contributors known", lambda: catalogue.save_book(session,b,{"contributors":[(a,ContributorRole.AUTHOR)]*2},now))
    session.rollback()
    show("dup subj known", lambda: [x.position for x in catalogue.save_book(session,b,{"subjects":[s,s]},now).subject_links])
    session.rollback()

def test_username(session, make, now):
    show("user", lambda: users.create_user(session, make.librarian(), {"username":"ΐ"*100}, now).username_key)
    session.rollback()
def test_email(session, make, now):
    show("email", lambda: users.create_user(session, make.librarian(), {"username":"ab", "email":"ΐ"*240+"@x.de"}, now).username_key)
    session.rollback()
def test_admin(session, make, now):
    a=make.user(role=Role.ADMIN, active=False)
    show("inactive", lambda: users.change_user(session, a, a, {"role":Role.PATRON}).role)
    session.rollback()
