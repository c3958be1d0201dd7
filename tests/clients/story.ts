// A day at the library, walked with openapi-fetch and the types that openapi-typescript makes of the document.
//
//     node story.js http://127.0.0.1:5000 NAME-OF-AN-ADMIN PASSWORD
//
// It makes what it needs under names of its own, so that it may be walked again in the same library.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./library.js";

type Schemas = components["schemas"];
// Books also come as MARC, CSV and more; this client takes JSON.
type Media = "application/json" | "application/problem+json";
type Library = Client<paths, Media>;
type Answer<Data> = { data?: Data; error?: Schemas["Problem"]; response: Response };

const PASSWORD = "a pass phrase of mine";

/** What a call answered, where it must have succeeded. */
function done<Data>({ data, error, response }: Answer<Data>): Data {
  assert(data !== undefined, `${response.status} ${response.url}: ${JSON.stringify(error)}`);
  return data;
}

/** What a call answered, where it must have been refused. */
function refused({ error, response }: Answer<unknown>): Schemas["Problem"] {
  assert(error !== undefined, `${response.url} was not refused`);
  assert.equal(error.status, response.status);
  return error;
}

/** A client that speaks for an account, and the account. */
async function signIn(url: string, username: string, password: string): Promise<[Library, Schemas["User"]]> {
  const client = createClient<paths, Media>({ baseUrl: url });
  const tokens = done(await client.POST("/users/login", { body: { username, password } }));
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
      return request;
    },
  });
  return [client, tokens.user];
}

/** Register, log in, list books; and what a wrong password answers. */
async function aPatronRegisters(url: string, username: string): Promise<[Library, Schemas["User"]]> {
  const anyone = createClient<paths, Media>({ baseUrl: url });
  const body = { username, email: `${username}@example.com`, password: PASSWORD };
  const registered = done(await anyone.POST("/users/register", { body }));
  const wrong = refused(await anyone.POST("/users/login", { body: { username, password: "not that one" } }));
  assert.deepEqual([wrong.status, wrong.code], [401, "unauthorized"]);
  const [client, user] = await signIn(url, username, PASSWORD);
  assert.deepEqual([user.id, user.role], [registered.id, "patron"]);
  assert(Array.isArray(done(await client.GET("/books"))));
  return [client, user];
}

/** An admin makes a branch and somebody who works there. */
async function aLibraryOpens(admin: Library, url: string, suffix: string): Promise<[Library, Schemas["Branch"]]> {
  const branch = done(await admin.POST("/branches", { body: { name: `Main ${suffix}` } }));
  const username = `libby-${suffix}`;
  const staff: Schemas["UserInput"] = { username, password: PASSWORD, role: "librarian", home_branch_id: branch.id };
  done(await admin.POST("/users", { body: staff }));
  const [librarian] = await signIn(url, username, PASSWORD);
  return [librarian, branch];
}

/** An author, a book, a copy; and the book is found by its title, the newest first. */
async function aBookArrives(librarian: Library, branch: Schemas["Branch"], suffix: string) {
  const author = done(await librarian.POST("/authors", { body: { name: `Melville, Herman (${suffix})` } }));
  const omoo: Schemas["BookInput"] = {
    title: `Omoo ${suffix}`,
    year: 1847,
    contributors: [{ author_id: author.id, role: "author" }],
  };
  const book = done(await librarian.POST("/books", { body: omoo }));
  const copy = done(await librarian.POST("/copies", { body: { book_id: book.id, home_branch_id: branch.id } }));
  const q = `omoo ${suffix}`;
  const found = done(await librarian.GET("/books", { params: { query: { q, sort: ["-year", "title"] } } }));
  assert.deepEqual(found.map((row) => row.id), [book.id]);
  // @ts-expect-error What the list is not sorted by does not compile; sent all the same, it is refused.
  const unsorted = refused(await librarian.GET("/books", { params: { query: { sort: ["-height"] } } }));
  assert.deepEqual(unsorted.errors.map((fault) => [fault.code, fault.parameter]), [["unknown_value", "sort"]]);
  return { book, copy };
}

/** A page by either name of its size, and every book of an author by a cursor. */
async function allAreWalked(librarian: Library, author_id: number, suffix: string) {
  const contributors: Schemas["BookInput"]["contributors"] = [{ author_id, role: "author" }];
  for (const volume of [1, 2, 3]) {
    done(await librarian.POST("/books", { body: { title: `Tales ${volume} ${suffix}`, contributors } }));
  }
  const paged = await librarian.GET("/books", { params: { query: { author_id, page: 1, page_size: 2 } } });
  assert.equal(done(paged).length, 2);
  assert.equal(done(await librarian.GET("/books", { params: { query: { author_id, per_page: 3 } } })).length, 3);
  const walked: number[] = [];
  for (let cursor: string | null = "start"; cursor; ) {
    const query = { author_id, cursor, page_size: 3 };
    const step: Answer<Schemas["Book"][]> = await librarian.GET("/books", { params: { query } });
    walked.push(...done(step).map((book) => book.id));
    cursor = step.response.headers.get("X-Next-Cursor");
  }
  assert.deepEqual([walked.length, new Set(walked).size], [4, 4]);
}

/** A change names the version it is made from: the second of two is told that it comes too late. */
async function twoChangeIt(librarian: Library, book: Schemas["Book"]) {
  const path = { book_id: book.id };
  const read = await librarian.GET("/books/{book_id}", { params: { path } });
  const tag = read.response.headers.get("ETag") ?? "";
  const known = await librarian.GET("/books/{book_id}", { params: { path, header: { "If-None-Match": tag } } });
  assert.equal(known.response.status, 304);
  const params = { path, header: { "If-Match": tag } };
  const changed = done(await librarian.PATCH("/books/{book_id}", { params, body: { subtitle: "A narrative" } }));
  assert.deepEqual([changed.title, changed.subtitle], [book.title, "A narrative"]);
  const late = refused(await librarian.PATCH("/books/{book_id}", { params, body: { subtitle: "Too late" } }));
  assert.deepEqual([late.status, late.code], [412, "precondition_failed"]);
}

/** Lent once however often the scanner sends it, refused to the next, seen by the patron, taken back. */
async function aCopyIsLentAndComesBack(
  librarian: Library,
  jdoe: Library,
  user: Schemas["User"],
  other: Schemas["User"],
  copy: Schemas["Copy"],
) {
  const copy_barcode = copy.barcode;
  const lending = {
    body: { copy_barcode, patron_barcode: user.card_barcode },
    params: { header: { "Idempotency-Key": randomBytes(16).toString("hex") } },
  };
  const loan = done(await librarian.POST("/loans", lending));
  assert.equal(done(await librarian.POST("/loans", lending)).id, loan.id);
  const open = { params: { query: { status: "open" } } } as const;
  const mine = done(await jdoe.GET("/loans", open));
  assert.deepEqual(mine.map((row) => [row.id, row.due_at]), [[loan.id, loan.due_at]]);

  const again = { body: { copy_barcode, patron_barcode: other.card_barcode } };
  const problem = refused(await librarian.POST("/loans", again));
  assert.deepEqual([problem.status, problem.code], [409, "refused"]);
  assert.deepEqual(problem.errors.map((reason) => reason.code), ["item_on_loan"]);

  const back = done(await librarian.POST("/check-ins", { body: { copy_barcode } }));
  assert.equal(back.route.action, "shelve");
  const closed = done(await jdoe.GET("/loans/{loan_id}", { params: { path: { loan_id: loan.id } } }));
  assert.notEqual(closed.closed_at, null);
  assert.deepEqual(done(await jdoe.GET("/loans", open)), []);
}

/** A hold becomes ready as the copy is scanned, and ends with the loan; the next one is given up. */
async function aHoldIsCollectedAndAnotherCancelled(
  librarian: Library,
  jdoe: Library,
  user: Schemas["User"],
  copy: Schemas["Copy"],
  branch: Schemas["Branch"],
) {
  const body = { book_id: copy.book_id, pickup_branch_id: branch.id };
  const copy_barcode = copy.barcode;
  const seen = async (hold_id: number) => done(await jdoe.GET("/holds/{hold_id}", { params: { path: { hold_id } } }));

  const hold = done(await jdoe.POST("/holds", { body }));
  assert.deepEqual([hold.state, hold.position], ["queued", 1]);
  const scanned = done(await librarian.POST("/check-ins", { body: { copy_barcode } }));
  assert.deepEqual([scanned.route.action, scanned.hold?.id], ["hold_shelf", hold.id]);
  assert.equal((await seen(hold.id)).state, "ready");
  done(await librarian.POST("/loans", { body: { copy_barcode, patron_barcode: user.card_barcode } }));
  assert.equal((await seen(hold.id)).state, "fulfilled");
  done(await librarian.POST("/check-ins", { body: { copy_barcode } }));

  const second = done(await jdoe.POST("/holds", { body }));
  const path = { hold_id: second.id };
  const givenUp = await jdoe.POST("/holds/{hold_id}/cancel", { params: { path }, body: { reason: "Read it at last" } });
  assert.equal(done(givenUp).hold.state, "cancelled");
}

/** What is charged by hand is paid at the desk, and then nothing is owed. */
async function aChargeIsPaid(librarian: Library, jdoe: Library, user: Schemas["User"]) {
  const patron_id = user.id;
  const account = { params: { path: { user_id: user.id } } };
  const charge = done(await librarian.POST("/charges", { body: { patron_id, amount_cents: 250 } }));
  assert.equal(done(await jdoe.GET("/accounts/{user_id}", account)).balance_cents, 250);
  const payment = done(await librarian.POST("/payments", { body: { patron_id, amount_cents: 250, method: "cash" } }));
  assert.deepEqual(payment.allocations.map((part) => [part.charge_id, part.amount_cents]), [[charge.id, 250]]);
  assert.equal(done(await jdoe.GET("/accounts/{user_id}", account)).balance_cents, 0);
}

/** The whole day. */
async function walk(url: string, adminName: string, adminPassword: string) {
  const suffix = randomBytes(4).toString("hex");
  const [admin] = await signIn(url, adminName, adminPassword);
  const [jdoe, user] = await aPatronRegisters(url, `jdoe-${suffix}`);
  const [, other] = await aPatronRegisters(url, `ada-${suffix}`);
  const [librarian, branch] = await aLibraryOpens(admin, url, suffix);
  for (const patron of [user, other]) {
    const params = { path: { user_id: patron.id }, header: { "If-Match": "*" } };
    done(await librarian.PATCH("/users/{user_id}", { params, body: { confirmed: true } }));
  }
  const { book, copy } = await aBookArrives(librarian, branch, suffix);
  const [melville] = book.contributors;
  assert(melville);
  await allAreWalked(librarian, melville.author_id, suffix);
  await twoChangeIt(librarian, book);
  await aCopyIsLentAndComesBack(librarian, jdoe, user, other, copy);
  await aHoldIsCollectedAndAnotherCancelled(librarian, jdoe, user, copy, branch);
  await aChargeIsPaid(librarian, jdoe, user);
}

const [url, name, password] = process.argv.slice(2);
assert(url && name && password, "say the address of a library, the name of an admin and the password");
await walk(url, name, password);
console.log("The day is done.");
