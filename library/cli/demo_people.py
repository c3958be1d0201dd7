"""The people of the demo library: three accounts to log in with, and patrons who only hold cards."""

from dataclasses import dataclass

from library.models import Role

DOMAIN = "example.org"


@dataclass(frozen=True)
class Account:
    """Somebody a newcomer can log in as."""

    role: Role
    first_name: str
    last_name: str
    card: str

    @property
    def username(self) -> str:
        """The name to log in with: the role's."""
        return self.role.value

    @property
    def email(self) -> str:
        """The address, in a domain that nobody can own."""
        return f"{self.username}@{DOMAIN}"


ADMIN = Account(Role.ADMIN, "Ada", "Okafor", "S0001")
LIBRARIAN = Account(Role.LIBRARIAN, "Lena", "Brandt", "S0002")
PATRON = Account(Role.PATRON, "Paul", "Moreau", "P0001")
ACCOUNTS = (ADMIN, LIBRARIAN, PATRON)

# Cards that the desk refuses, each for another reason.
EXPIRED, UNCONFIRMED, INACTIVE = "P0038", "P0039", "P0040"

# First and family name of the holders of the cards P0002, P0003 …; the last eight of those who may borrow are children.
CARD_HOLDERS = (
    ("Amina", "Diallo"),
    ("Žofia", "Nováková"),
    ("Mateo", "García Ruiz"),
    ("Yuki", "Tanaka"),
    ("Fatima", "Al-Sayed"),
    ("Søren", "Lindqvist"),
    ("Priya", "Raghavan"),
    ("Oluwaseun", "Adeyemi"),
    ("Ingrid", "Bjørnstad"),
    ("Nguyễn", "Minh Anh"),
    ("Łukasz", "Wiśniewski"),
    ("Leilani", "Kahale"),
    ("Giulia", "Ferraro"),
    ("Ahmet", "Yıldız"),
    ("Chloé", "Lefèvre"),
    ("Siobhán", "Ní Bhriain"),
    ("Dmytro", "Kovalenko"),
    ("Esther", "Mwangi"),
    ("Jorge", "Quispe Mamani"),
    ("Hanna", "Virtanen"),
    ("Wei", "Zhang"),
    ("Tomasz", "Zieliński"),
    ("Rivka", "Ben-David"),
    ("Carlos", "Oliveira"),
    ("Marit", "de Vries"),
    ("Eleni", "Papadaki"),
    ("Ji-woo", "Park"),
    ("Thandiwe", "Dlamini"),
    ("Emil", "Andersson"),
    ("Mia", "Schröder"),
    ("Noah", "Haddad"),
    ("Aroha", "Tamihana"),
    ("Luca", "Steiner"),
    ("Zainab", "Hussain"),
    ("Finn", "Gallagher"),
    ("Saanvi", "Iyer"),
    ("Bogdan", "Ionescu"),
    ("Marguerite", "Duval"),
    ("Henrik", "Nyström"),
)
CHILDREN = 8
