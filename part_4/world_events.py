"""What can happen in a story of the little world, and the words for it.

Slots  a, b, c people · j, k their jobs · x, y things · m how a thing looks · p, q places · s a hiding spot;
       every other slot ({sky}, {mood}, ...) is a fresh draw from the list of that name.
Rule   a wording names everybody it is about, uses a pronoun only for the person named last, and says
       nothing that `needs` and `makes` do not cover. The judge reads stories back with these wordings.
"""

import world_words as w
from world_engine import Event

SKILLS = w.words("whistle swim dance juggle knit skate paint bake ride sail weave sing cook fish row climb")
COATS = w.words("big black brown grey little old pale spotted tiny white young")
LISTS = {
    "sky": w.SKIES, "time": w.TIMES, "month": w.MONTHS, "town": w.TOWNS, "doing": w.DOINGS, "trait": w.TRAITS,
    "creature": w.CREATURES, "act": w.CREATURE_DOINGS, "mood": w.MOODS, "glad": w.GLAD, "sad": w.SAD,
    "meal": w.MEALS, "lesson": w.LESSONS, "skill": SKILLS, "look": w.LOOKS, "coat": COATS, "glad2": w.GLAD,
    # what the slots of people and things may be, for a reader who does not know the story's words
    **dict.fromkeys("abc", w.NAMES), **dict.fromkeys("jk", w.JOBS), **dict.fromkeys("xy", w.THINGS),
    **dict.fromkeys("mn", w.LOOKS), **dict.fromkeys("pq", w.PLACES),
    "s": tuple(spot for place in w.PLACES for spot in place.spots),
}
EVENTS = {}


def event(name, lines, needs="", makes=""):
    EVENTS[name] = Event(name, lines, needs, makes, LISTS)


# ---- the opening: who, and where ------------------------------------------------------------------

event("open", """
One {sky} {time}, {a} the {j} was {doing} {p.at}.
It was a {sky} {time}. {a}, {trait.a} {j}, was {doing} {p.at}.
{a} was {trait.a} {j} from {town}. One {sky} {time}, {a.he} was {doing} {p.at}.
There was once {trait.a} {j} called {a}. On a {sky} {time}, {a.he} sat {p.at}, {doing}.
On a {sky} {time} in {month}, {a} the {j} stood {p.at}, {doing}.
Long ago, {trait.a} {j} named {a} lived in {town}. One {time} {a.he} was {doing} {p.at}.
Nobody in {town} was as {trait} as {a} the {j}. One {sky} {time}, {a.he} was {p.at}, {doing}.
The {time} was {sky}, and {a} the {j} was {doing} {p.at}.
This is a story about {a}, {trait.a} {j}. It begins {p.at} on a {sky} {time}.
In {month}, when the days were {sky}, {a} the {j} was often {p.at}. One {time}, {a.he} was {doing}.
""", makes="a new, a job j, a at p")

# ---- the want -------------------------------------------------------------------------------------

event("keep", """
{a} had {m.a} {x} and wanted to keep it, because with it {a.he} could {x.use}.
With {a.him} {a} had {m.a} {x}, and {a.he} wanted to keep it for ever. With it {a.he} could {x.use}.
{a}'s grandmother had left {a.him} {m.a} {x}. {a.He} wanted to keep the {x}, so that {a.he} could {x.use}.
In {a.his} bag {a} had {m.a} {x}. {a.He} wanted to keep it and {x.use}.
{a} had saved up for {m.a} {x}. Now {a.he} had it at last, and {a.he} wanted to keep it and {x.use}.
""", makes="a has x, x new, x looks m")

event("wish", """
{b} the {k} was there too, holding {m.a} {x}. {a} wanted the {x}, because with it {a.he} could {x.use}.
Beside {a.him} was {b}, {trait.a} {k}, who had {m.a} {x}. How {a} wanted that {x}! With it {a.he} could {x.use}.
{a} wanted {x.a} so that {a.he} could {x.use}. "Look what I have," said {b} the {k}, and held up {m.a} {x}.
Then {b} the {k} walked up with {m.a} {x}. {a} wanted the {x} at once, so that {a.he} could {x.use}.
"What a fine {x}!" said {a} to {b} the {k}, who had {m.a} one. {a} wanted it, so that {a.he} could {x.use}.
""", needs="a at p", makes="b new, b job k, b at p, b has x, x new, x looks m")

event("wish_far", """
{a} wanted {x.a} so that {a.he} could {x.use}. {b} the {k} had {m.a} one, and {b} was {q.at}.
{a} had often heard of the {m} {x} that {b} the {k} had {q.at}. {a} wanted it, so that {a.he} could {x.use}.
"If only I had {x.a}!" said {a}. "Then I could {x.use}." {b}, {trait.a} {k}, had {m.a} one {q.at}.
More than anything, {a} wanted the {m} {x} of {b} the {k}, who was {q.at}. With it {a.he} could {x.use}.
""", makes="b new, b job k, b at q, b has x, x new, x looks m")

event("gift", """
{a} had {m.a} {x} and wanted to give it to {b} the {k}, who was {q.at}. Then {b} could {x.use}.
Under {a.his} arm {a} had {m.a} {x}. It was a present for {b} the {k}, who was {q.at} and wished to {x.use}.
It was the birthday of {b} the {k}, who was {q.at}. {a} had {m.a} {x} for {b.him}, to {x.use}.
"This {m} {x} is for {b}," thought {a}. {b} the {k} was {q.at} and wished to {x.use}.
""", makes="b new, b job k, b at q, a has x, x new, x looks m")

event("quest", """
People said that {m.a} {x} lay {q.at}, {s}. {a} wanted to find it and {x.use}.
An old song told of {m.a} {x} that lay {q.at}, {s}. {a} wanted to find the {x}, so that {a.he} could {x.use}.
{a} wanted {x.a} so that {a.he} could {x.use}. In a dream {a.he} saw {m.a} one {q.at}, {s}.
A note in a bottle said: "{m.A} {x} lies {q.at}, {s}." {a} wanted to find it and {x.use}.
""", makes="x lies q s, x new, x looks m")

event("lost", """
{a} had lost {m.a} {x} the day before and wanted it back. It lay {q.at}, {s}, but {a.he} did not know that.
{a} was {sad}. {a.His} {m} {x} was gone, and {a.he} wanted it back to {x.use}. It had dropped {q.at}, {s}.
"Where is my {m} {x}?" thought {a}. {a.He} wanted it back. Nobody had told {a.him} that it lay {q.at}, {s}.
The day before, {a} had left {m.a} {x} {q.at}, {s}. Now {a.he} wanted it back, but could not remember where it was.
""", makes="x lies q s, x new, x looks m")

event("errand", """
{b} the {k} came up with {m.a} {x}. "Please take this to {c} {q.at}," said {b} and gave {a} the {x}. {a} promised.
"{c} is {q.at} and wishes to {x.use}," said {b} the {k}. {b} gave {a} {m.a} {x} and asked {a.him} to take it to {c}.
{b}, {trait.a} {k}, gave {a} {m.a} {x}. "It is for {c}, who is {q.at}," said {b}. {a} wanted to take it to {c} at once.
""", needs="a at p", makes="b new, b job k, b at p, c new, c at q, a has x, x new, x looks m")

# ---- people come and go ---------------------------------------------------------------------------

event("meet", """
{b} the {k} was {p.at} as well, {doing}.
Not far away {a} saw {b}, {trait.a} {k}, {doing}.
Just then {b} the {k} came by. "Good {time}, {a}!" said {b}.
{a} was not alone: {b} the {k} was there too, {doing}.
"Hello, {a}! How are you?" called {b} the {k}. "Fine, thank you," said {a}.
Soon {trait.a} {k} named {b} sat down beside {a}.
There {a} met {b}, {trait.a} {k} from {town}.
""", needs="a at p", makes="b new, b job k, b at p")

event("meet_with", """
{b} the {k} was {p.at} as well, with {n.a} {y}.
There {a} met {b}, {trait.a} {k}, who had {n.a} {y}.
Just then {b} the {k} came by with {n.a} {y}. "Good {time}, {a}!" said {b}.
{trait.A} {k} named {b} was there too and showed {a} {n.a} {y}.
"Hello, {a}!" called {b} the {k}, who was carrying {n.a} {y}. "Hello, {b}!" said {a}.
""", needs="a at p", makes="b new, b job k, b at p, b has y, y new, y looks n")

event("come", """
Just then {b} came {p.to}. "Hello again, {a}!" said {b}.
After a while {b} came {p.to} too.
"Wait for me!" called {b}, and came running {p.to}.
Before long {b} left {q} and came {p.to}, {doing}.
""", needs="a at p, b at q", makes="b at p")

event("come_with", """
Just then {b} came {p.to} with the {x}.
Before long {b} came {p.to}, and {b.he} still had the {x}.
After a while {b} left {q} and came {p.to}, carrying the {x}.
"Look what I have here!" called {b}, and came {p.to} with the {x}.
""", needs="a at p, b at q, b has x", makes="b at p")

event("leave", """
Then {b} said goodbye and went {q.to}.
"I must go now," said {b}, and went {q.to}.
{b} had work to do and left for {q}.
Soon {b} was {mood} and walked off {q.to}.
""", needs="a with b", makes="b at q")

event("leave_with", """
Then {b} took the {x} along and went {q.to}.
"I must go now," said {b}, and went {q.to} with the {x}.
{b} still had the {x} and took it {q.to}.
With the {x} under {b.his} arm, {b} set off {q.to}.
""", needs="a with b, b has x", makes="b at q")

event("together", """
"Come with me," said {a} to {b}, and together they went {q.to}.
{a} and {b} walked {q.to} together, talking about {meal}.
Side by side, {a} and {b} went {q.to}.
"Shall we go {q.to}?" asked {b}. "Yes, let us go," said {a}. So they went there together.
""", needs="a with b", makes="a at q, b at q")

event("walk", """
Then {a} went on {q.to}, {doing}.
{a} felt {mood} and walked {q.to}.
Later {a} walked {q.to}. The way was long and the wind was {sky}.
After some {meal}, {a} went {q.to}.
""", makes="a at q")

event("walk_with", """
{a} took the {x} and went {q.to}.
Then {a} carried the {x} {q.to}, {doing}.
With the {x} in {a.his} hands, {a} walked {q.to}.
{a} put the {x} in {a.his} bag and set off {q.to}.
""", needs="a has x", makes="a at q")

event("to_thing", """
So {a} hurried {q.to}, where the {x} was.
{a} knew where to look and ran {q.to}.
Without waiting, {a} went {q.to} to fetch the {x}.
{a} packed some {meal} and set off {q.to} to get the {x}.
""", needs="x lies q s", makes="a at q")

event("to_holder", """
So {a} went {q.to}. There was {b}, and {b} still had the {x}.
{a} hurried {q.to} to find {b}, who had the {x}.
{a} walked {q.to}, where {b} was {doing} with the {x} beside {b.him}.
The way {q.to} was long, but at last {a} stood before {b}, who had the {x}.
""", needs="b at q, b has x", makes="a at q")

event("to_person", """
So {a} took the {x} {q.to}, where {b} was {doing}.
{a} carried the {x} {q.to} to find {b}.
With the {x} in {a.his} bag, {a} set off {q.to}. {b} was there already.
{a} brought the {x} {q.to}, and {b} waved to {a.him}.
""", needs="a has x, b at q", makes="a at q")

# ---- losing, looking, finding ---------------------------------------------------------------------

event("lose", """
On the way out, the {x} fell {s}. {a} did not notice and went {q.to}. There {a.he} saw that the {x} was gone.
{a} put the {x} down {s} and forgot it there. Only when {a.he} came {q.to} did {a.he} miss it.
{a} tripped, and the {x} landed {s}. {a.He} walked on {q.to} before {a.he} felt in {a.his} bag: it was empty!
There was a hole in {a.his} bag, and the {x} dropped {s}. "My {x} is gone!" cried {a} when {a.he} came {q.to}.
{a} laid the {x} {s} to rest a little, then went {q.to} without it. "Oh no, I lost my {x}!" said {a}.
""", needs="a has x, a at p", makes="x lies p s, a at q")

event("lose_far", """
Meanwhile {q.at}, {b} lost the {x}. It fell {s}, and {b} did not notice.
At that very moment {b} dropped the {x} {s} {q.at}.
{b}, who was still {q.at}, put the {x} down {s} and forgot about it.
""", needs="b has x, b at q", makes="x lies q s")

event("hide", """
{a} was afraid of thieves, so {a.he} hid the {x} {s}.
{a} laid the {x} {s}, where it would be safe.
"I will leave it here for now," said {a}, and put the {x} {s}.
""", needs="a has x, a at p", makes="x lies p s")

event("search", """
{a} looked for the {x} everywhere {p.at}, but it was not there.
"Is it here?" {a} searched {p} from end to end. There was no {x}, only {creature.a}.
{a} looked high and low {p.at} for the {x}. {a.He} found nothing and felt {sad}.
{a} turned over every stone {p.at}, but the {x} was somewhere else.
""", needs="a at p, x off p")

event("go_search", """
{a} went {q.to} to look for the {x}.
"Perhaps the {x} is somewhere else," thought {a}, and went {q.to}.
Still looking for the {x}, {a} walked {q.to}.
{a} felt {sad} about the {x} and went on {q.to}.
""", makes="a at q")

event("ask_where", """
"Have you seen the {x}?" {a} asked. "Yes," said {b}, "it is {s} {q.at}."
{a} asked {b} about the {x}. "I saw it {q.at}," said {b}. "Look {s}!"
"Why are you so {sad}?" asked {b}. "I cannot find the {x}," said {a}. "But I know where it is! It is {s} {q.at}."
{b} thought for a while. "The {x}? I think it lies {s} {q.at}," {b.he} told {a}.
From {b}, {a} learned that the {x} was {s} {q.at}.
""", needs="a with b, x lies q s")

event("ask_who", """
"Have you seen the {x}?" {a} asked. "Yes," said {b}, "{c} has it, and {c} is {q.at}."
{a} asked {b} about the {x}. "{c} has it {q.at}," said {b}.
From {b}, {a} learned that {c} was {q.at} and had the {x}.
"Why are you so {sad}?" asked {b}. "I cannot find the {x}," said {a}. "{c} took it {q.to}," said {b}.
""", needs="a with b, c has x, c at q")

event("hear", """
A {trait} neighbour told {a} that {b} was {q.at} and had the {x}.
Then {a} heard some news: {b} had the {x} and was {q.at}.
{a} found a note from {b}. "I have the {x}. Come and see me {q.at}!"
""", needs="b at q, b has x")

event("remember", """
Suddenly {a} remembered: the {x} was {s} {q.at}!
{a} sat down and thought hard. Of course, the {x} was {s} {q.at}!
{a} went over the day once more. Then {a.he} knew that the {x} was {s} {q.at}.
""", needs="x lies q s")

event("find", """
There, {s}, lay the {x}. {a} picked it up and felt {glad}.
{a} looked {s} and found the {x}. "Here it is!" {a.he} cried.
Something shone {s}. It was the {x}! {a} took it and was {glad}.
{a} searched for a long time. At last {a.he} found the {x} {s}.
"Hurray!" {a} had found the {x} {s}.
""", needs="x lies p s, a at p", makes="a has x")

event("find_by", """
{b} looked {s} and found the {x}. "What is this?" said {b} and picked it up.
But it was {b} who saw the {x} {s} first, and {b} took it.
Just then {b} reached down and found the {x} {s}.
""", needs="x lies p s, b at p", makes="b has x")

event("find_far", """
Meanwhile {b} came {q.to} and found the {x} {s}.
At that time {b} was {q.at}. {b.He} saw the {x} {s} and picked it up.
Far away {q.at}, {b} looked {s}, found the {x} and took it along.
""", needs="x lies q s", makes="b at q, b has x")

# ---- giving, taking, swapping ---------------------------------------------------------------------

event("give", """
{a} gave the {x} to {b}. "Thank you, {a}!" said {b}.
"This is for you," said {a}, and gave {b} the {x}. {b} was {glad}.
{a} held out the {x}. {b} took it with a smile and felt {glad}.
With a bow, {a} handed the {x} to {b}, who was {glad}.
"Now you can {x.use}," said {a} and gave {b} the {x}.
""", needs="a has x, a with b", makes="b has x")

event("lend", """
"May I borrow the {x}?" asked {b}. {a} nodded, and {b} took the {x} {q.to}.
{b} needed the {x} for a day, so {a} gave it to {b.him}. {b} went off {q.to}.
{a} let {b} have the {x} for a while, and {b} went {q.to} with it.
{b} begged for the {x} until {a} gave it away. Then {b} carried it {q.to}.
""", needs="a has x, a with b", makes="b has x, b at q")

event("give_back", """
"Please, may I have the {x}?" asked {a}. "Yes, of course," said {b}, and gave it to {a.him}.
{a} asked {b} for the {x}. {b} felt {mood} and gave it to {a}.
{b} saw how {sad} {a} was and gave {a.him} the {x}.
"You need the {x} more than I do," said {b}, and gave it to {a}. "Thank you!" said {a}.
"If you sing me a song, you can have the {x}," said {b}. So {a} sang, and {b} gave {a} the {x}.
{a} told {b} a funny story about {creature.a}. {b} laughed and gave {a} the {x}.
""", needs="b has x, a with b", makes="a has x")

event("refuse", """
"Please, may I have the {x}?" asked {a}. "No," said {b}, and held on to it.
{a} asked {b} for the {x}, but {b} shook {b.his} head and kept it.
{a} offered {b} some {meal} for the {x}. "I would rather keep the {x}," said {b}.
"Not today," said {b}, when {a} asked for the {x}. {a} felt {sad}.
""", needs="b has x, a with b")

event("take", """
While {a} was {doing}, {b} came up, took the {x} and ran off {q.to}. "Stop!" shouted {a}.
{b} snatched the {x} from {a} and ran {q.to}. "Come back!" shouted {a}.
"Catch me!" laughed {b}, pulled the {x} out of {a}'s hands and ran {q.to}.
{b} wanted the {x} too. {b.He} grabbed it and ran {q.to}, and {a} was left behind, {sad}.
""", needs="a has x, a with b", makes="b has x, b at q")

event("steal", """
When nobody was looking, {b} took the {x} out of {a}'s bag and crept away {q.to}.
{a} fell asleep. When {a.he} woke, {b} had gone {q.to} with the {x}.
While {a} was {doing}, {b} hid the {x} under {b.his} coat and went {q.to}. {a} saw nothing.
{b} asked {a} to close {a.his} eyes. Then {b} crept off {q.to} with the {x}.
""", needs="a has x, a with b", makes="b has x, b at q")

event("swap", """
"Will you swap your {x} for my {y}?" asked {a}. "Done!" said {b}. So {a} got the {x} and {b} got the {y}.
{a} gave {b} the {y}, and for it {b} gave {a} the {x}.
{a} and {b} made a trade: {a} took the {x}, and {b} took the {y}.
""", needs="a has y, b has x, a with b", makes="a has x, b has y")

event("give_y", """
{b} gave the {y} to {a}. "I have no need of it," said {b}.
"Would you like the {y}?" asked {b}. {a} said yes and took the {y}.
{b} felt {mood} and made {a} a present of the {y}.
""", needs="b has y, a with b", makes="a has y")

# ---- quiet moments --------------------------------------------------------------------------------

event("show", """
{a} showed {b} the {x}. "How {look} it is!" said {b}.
{a} took out the {x}, and {b} admired it.
"Do you know my {x}?" asked {a}. {b} looked at it for a long time.
""", needs="a has x, a with b")

event("teach", """
{b} showed {a} how to {skill}, and {a} learned it quickly.
"Can you {skill}?" asked {b}. "No," said {a}, so {b} taught {a.him}.
To pass the time, {a} learned to {skill} from {b}.
They talked about the {sky} weather. Then {b} taught {a} to {skill}.
""", needs="a with b")

event("nature", """
{creature.A} {act}.
Somewhere {creature.a} {act}.
The {time} grew {sky}, and {creature.a} {act}.
{coat.A} {creature} {act}.
The sky was {sky} now.
""")

event("rest", """
{a} ate some {meal} and felt {mood}.
{a} was {mood}, but did not say so.
For a while {a} sat there, {doing}.
"What a {sky} {time}!" said {a}.
{a} was hungry and thought of {meal}.
""")

# ---- the end --------------------------------------------------------------------------------------

event("end_have", """
In the evening {a} had the {x} safe and sound, and {a.he} was {glad}.
So in the end {a} had the {x} and could {x.use}. {a.He} had learned that {lesson}.
{a} went home with the {x}, ate some {meal} and slept well.
From that day on, {a} took good care of the {x}. "Now I can {x.use}," {a.he} said.
At last {a} could {x.use}. "All is well," said {a}, and held the {x} tight.
And so {a} got what {a.he} wanted. The {x} was in {a.his} hands, and {a} was {glad}.
""", needs="a has x")

event("end_gave", """
Now {b} had the {x} and could {x.use}. {a} went home, {glad} and {glad2}.
{b} thanked {a} again and again for the {x}. They shared some {meal} and were {glad}.
So the {x} came to {b}, as {a} had wanted. {a} had learned that {lesson}.
"What a good friend you are, {a}," said {b}, and held the {x} tight. {a} was {glad}.
""", needs="b has x")

event("end_kept", """
It grew late, and {a} still had the {x}. "Tomorrow I will give it to {b}," {a.he} said.
In the evening {a} sat down, {mood}, and looked at the {x}. It was still not with {b}.
{a} was too tired to go on. {a.He} put the {x} beside {a.his} bed and dreamed of {b}.
""", needs="a has x")

event("end_other", """
In the evening {b} still had the {x}. "Never mind," said {a}, and ate some {meal}.
So {b} kept the {x}, and {a} went home without it. {a.He} had learned that {lesson}.
{a} was {sad}, for {b} had the {x} now. "Tomorrow is another day," {a.he} said.
{a} never got the {x}. {b} had it, and that was that.
""", needs="b has x")

event("end_lost", """
Night fell, and the {x} still lay {s} {p.at}. {a} went to bed {sad}.
So the {x} stayed {s} {p.at}, and there it may lie to this day. {a} had learned that {lesson}.
{a} had to go home without the {x}, which was {s} {p.at}. "Tomorrow I will try again," said {a}.
""", needs="x lies p s")
