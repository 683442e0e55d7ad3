"""What people do in a story of the little world: lose and find, give and take, and the end.

The slots and the rule are those of world/events.py, whose table EVENTS is completed here.
"""

from world.events import EVENTS, event

__all__ = ["EVENTS"]

# ---- losing, looking, finding -------------------------------------------------------------------

event("lose", """
On the way out, the {x} fell {s}. {a} did not notice and {how} went {q.to}. There {a.he} saw that the {x} was gone.
{a} {how} put the {x} down {s} and forgot it there. Only when {a.he} came {q.to} did {a.he} miss it.
{a} tripped, and the {x} landed {s}. {a.He} walked on {q.to} before {a.he} felt in {a.his} bag: it was empty!
There was a hole in {a.his} bag, and the {x} dropped {s}. "My {x} is gone!" {say} {a} when {a.he} came {q.to}.
{a} {how} laid the {x} {s} to rest a little, then went {q.to} without it. "Oh no, I lost my {x}!" {say} {a}.
""", needs="a has x, a at p", makes="x lies p s, a at q",
      now="nobody had the {x}, and {a} was {q.at}")

event("lose_far", """
Meanwhile {q.at}, {b} lost the {x}. It fell {s}, and {b} did not notice.
At that very moment {b} dropped the {x} {s} {q.at}.
{b}, who was still {q.at}, {how} put the {x} down {s} and forgot about it.
""", needs="b has x, b at q", makes="x lies q s",
      now="nobody had the {x}")

event("hide", """
{a} was afraid of thieves, so {a.he} hid the {x} {s}.
{a} {how} laid the {x} {s}, where it would be safe.
"I will leave it here for now," {say} {a}, and put the {x} {s}.
""", needs="a has x, a at p", makes="x lies p s",
      now="nobody had the {x}")

event("search", """
{a} {how} looked for the {x} everywhere {p.at}, but it was not there.
"Is it here?" {a} searched {p} from end to end. There was no {x}, only {creature.a}.
{a} {how} looked high and low {p.at} for the {x}. {a.He} found nothing and felt {sad}.
{a} turned over every stone {p.at}, but the {x} was somewhere else.
""", needs="a at p, x off p")

event("go_search", """
{a} {how} went {q.to} to look for the {x}.
"Perhaps the {x} is somewhere else," thought {a}, and {how} went {q.to}.
Still looking for the {x}, {a} walked {q.to}.
{a} felt {sad} about the {x} and went on {q.to}.
""", makes="a at q",
      now="{a} was {q.at}")

event("ask_where", """
"Have you seen the {x}?" {a} asked. "Yes," {say} {b}, "it is {s} {q.at}."
{a} {how} asked {b} about the {x}. "I saw it {q.at}," {say} {b}. "Look {s}!"
"Why are you so {sad}?" asked {b}. "I cannot find the {x}," {say} {a}. "But I know where it is! It is {s} {q.at}."
{b} thought for a while. "The {x}? I think it lies {s} {q.at}," {b.he} told {a}.
From {b}, {a} learned that the {x} was {s} {q.at}.
""", needs="a with b, x lies q s")

event("ask_who", """
"Have you seen the {x}?" {a} asked. "Yes," {say} {b}, "{c} has it, and {c} is {q.at}."
{a} {how} asked {b} about the {x}. "{c} has it {q.at}," {say} {b}.
From {b}, {a} learned that {c} was {q.at} and had the {x}.
"Why are you so {sad}?" asked {b}. "I cannot find the {x}," {say} {a}. "{c} took it {q.to}," {say} {b}.
""", needs="a with b, c has x, c at q")

event("hear", """
A {trait} neighbour told {a} that {b} was {q.at} and had the {x}.
{when.Cap} {a} heard some news: {b} had the {x} and was {q.at}.
{a} found a note from {b}. "I have the {x}. Come and see me {q.at}!"
""", needs="b at q, b has x")

event("remember", """
Suddenly {a} remembered: the {x} was {s} {q.at}!
{a} sat down and thought hard. Of course, the {x} was {s} {q.at}!
{a} {how} went over the day once more. Then {a.he} knew that the {x} was {s} {q.at}.
""", needs="x lies q s")

event("find", """
There, {s}, lay the {x}. {a} {how} picked it up and felt {glad}.
{a} {how} looked {s} and found the {x}. "Here it is!" {a.he} {say}.
Something shone {s}. It was the {x}! {a} took it and was {glad}.
{a} {how} searched for a long time. At last {a.he} found the {x} {s}.
"Hurray!" {a} had found the {x} {s}.
""", needs="x lies p s, a at p", makes="a has x",
      now="{a} had the {x}")

event("find_by", """
{b} {how} looked {s} and found the {x}. "What is this?" {say} {b} and picked it up.
But it was {b} who saw the {x} {s} first, and {b} took it.
{when.Cap} {b} reached down and found the {x} {s}.
""", needs="x lies p s, b at p", makes="b has x",
      now="{b} had the {x}")

event("find_far", """
Meanwhile {b} came {q.to} and found the {x} {s}.
At that time {b} was {q.at}. {b.He} saw the {x} {s} and {how} picked it up.
Far away {q.at}, {b} looked {s}, found the {x} and took it along.
""", needs="x lies q s", makes="b at q, b has x",
      now="{b} had the {x} {q.at}")

# ---- giving, taking, swapping -------------------------------------------------------------------

event("give", """
{a} {how} gave the {x} to {b}. "Thank you, {a}!" {say} {b}.
"This is for you," {say} {a}, and {how} gave {b} the {x}. {b} was {glad}.
{a} held out the {x}. {b} took it with {glad.a} smile.
With {glad.a} smile, {a} {how} handed the {x} to {b}.
"Now you can {x.use}," {say} {a} and {how} gave {b} the {x}.
""", needs="a has x, a with b", makes="b has x",
      now="{b} had the {x}")

event("lend", """
"May I borrow the {x}?" asked {b}. {a} nodded, and {b} took the {x} {q.to}.
{b} needed the {x} for a day, so {a} gave it to {b.him}. {b} went off {q.to}.
{a} let {b} have the {x} for a while, and {b} went {q.to} with it.
{b} {how} begged for the {x} until {a} gave it away. {when.Cap} {b} carried it {q.to}.
""", needs="a has x, a with b", makes="b has x, b at q",
      now="{b} had the {x} {q.at}")

event("give_back", """
"Please, may I have the {x}?" asked {a}. "Yes, of course," {say} {b}, and gave it to {a.him}.
{a} {how} asked {b} for the {x}. {b} felt {mood} and gave it to {a}.
{b} saw how {sad} {a} was and {how} gave {a.him} the {x}.
"You need the {x} more than I do," {say} {b}, and {how} gave it to {a}. "Thank you!" {say} {a}.
"If you sing me a song, you can have the {x}," {say} {b}. So {a} sang, and {b} {how} gave {a} the {x}.
{a} told {b} a funny story about {creature.a}. {b} laughed and gave {a} the {x}.
""", needs="b has x, a with b", makes="a has x",
      now="{a} had the {x}")

event("refuse", """
"Please, may I have the {x}?" asked {a}. "No," {say} {b}, and held on to it.
{a} {how} asked {b} for the {x}, but {b} shook {b.his} head and kept it.
{a} offered {b} some {meal} for the {x}. "I would rather keep the {x}," {say} {b}.
"Not today," {say} {b}, when {a} asked for the {x}. {a} felt {sad}.
""", needs="b has x, a with b")

event("take", """
While {a} was {doing}, {b} came up, took the {x} and ran off {q.to}. "Stop!" {say} {a}.
{b} snatched the {x} from {a} and ran {how} {q.to}. "Come back!" {say} {a}.
"Catch me!" laughed {b}, pulled the {x} out of {a}'s hands and ran {how} {q.to}.
{b} wanted the {x} too. {b.He} grabbed it and ran {how} {q.to}, and {a} was left behind, {sad}.
""", needs="a has x, a with b", makes="b has x, b at q",
      now="{b} had the {x} {q.at}")

event("steal", """
When nobody was looking, {b} took the {x} out of {a}'s bag and {how} crept away {q.to}.
{a} fell asleep. When {a.he} woke, {b} had gone {q.to} with the {x}.
While {a} was {doing}, {b} hid the {x} under {b.his} coat and {how} went {q.to}. {a} saw nothing.
{b} {how} asked {a} to close {a.his} eyes. Then {b} crept off {q.to} with the {x}.
""", needs="a has x, a with b", makes="b has x, b at q",
      now="{b} had the {x} {q.at}")

event("swap", """
"Will you swap your {x} for my {y}?" asked {a}. "Done!" {say} {b}. So {a} got the {x} and {b} got the {y}.
{a} {how} gave {b} the {y}, and for it {b} gave {a} the {x}.
{a} and {b} made a trade: {a} took the {x}, and {b} took the {y}.
""", needs="a has y, b has x, a with b", makes="a has x, b has y",
      now="{a} had the {x} and {b} had the {y}")

event("give_y", """
{b} {how} gave the {y} to {a}. "I have no need of it," {say} {b}.
"Would you like the {y}?" asked {b}. {a} said yes and took the {y}.
{b} felt {mood} and made {a} a present of the {y}.
""", needs="b has y, a with b", makes="a has y",
      now="{a} had the {y}")

# ---- quiet moments ------------------------------------------------------------------------------

event("show", """
{a} {how} showed {b} the {x}. "What a fine {x}!" {say} {b}.
{a} {how} took out the {x}, and {b} admired it.
"Do you know my {x}?" asked {a}. {b} looked at it for a long time.
""", needs="a has x, a with b")

event("teach", """
{b} {how} showed {a} how to {skill}, and {a} learned it quickly.
"Can you {skill}?" asked {b}. "No," {say} {a}, so {b} taught {a.him}.
To pass the time, {a} learned to {skill} from {b}.
They talked about the {sky} weather. Then {b} taught {a} to {skill}.
""", needs="a with b")

event("nature", """
{coat.A} {creature} {how} {act}.
Somewhere {creature.a} {act}, and the air was {sky}.
The {time} grew {sky}, and {coat.a} {creature} {act}.
{creature.A} {how} {act}, and {coat.a} {creature2} {act2}.
The sky was {sky} now. Far off, {creature.a} {act}.
There was a smell of {meal} in the {sky} air, and {creature.a} {act}.
{coat.A} {creature} and {coat2.a} {creature2} {how} {act}.
""")

event("rest", """
{a} {how} ate some {meal} and felt {mood}.
{a} was {mood}, and {how} thought of {meal}.
For a while {a} sat there, {doing}, and felt {mood}.
"What a {sky} {time}!" {say} {a}, {doing}.
"I should like some {meal}," {say} {a}, and felt {mood}.
{when.Cap} {a} {how} told a story about {coat.a} {creature}.
""")

# ---- the end ------------------------------------------------------------------------------------

event("end_have", """
In the evening {a} had the {x} safe and sound, and {a.he} was {glad}.
So in the end {a} had the {x} and could {x.use}. {a.He} had learned that {lesson}.
{a} {how} put the {x} in {a.his} bag, ate some {meal} and slept well.
From that day on, {a} took good care of the {x}. "Now I can {x.use}," {a.he} {say}.
{when.Cap} {a} could {x.use}. "All is well," {say} {a}, and held the {x} tight.
And so {a} got what {a.he} wanted. The {x} was in {a.his} hands, and {a} was {glad}.
""", needs="a has x")

event("end_gave", """
Now {b} had the {x} and could {x.use}. {a} was {glad} and {glad2}.
{b} was thankful to {a} for the {x} day after day. {a} ate some {meal} and was {glad}.
So the {x} came to {b}, as {a} had wanted. {a} had learned that {lesson}.
"What a good friend {a} is," {say} {b}, and held the {x} tight. {a} was {glad}.
""", needs="b has x")

event("end_kept", """
It grew late, and {a} still had the {x}. "Tomorrow I will give it to {b}," {a.he} {say}.
In the evening {a} sat down, {mood}, and looked at the {x}. It was still not with {b}.
{a} was too tired to go on. {a.He} put the {x} beside {a.him} and dreamed of {b}.
""", needs="a has x")

event("end_other", """
In the evening {b} still had the {x}. "Never mind," {say} {a}, and ate some {meal}.
So {b} kept the {x}, and {a} had to do without it. {a.He} had learned that {lesson}.
{a} was {sad}, for {b} had the {x} now. "Tomorrow is another day," {a.he} {say}.
{a} never got the {x}. {b} had it, and that was that.
""", needs="b has x")

event("end_lost", """
Night fell, and the {x} still lay {s} {p.at}. {a} fell asleep {sad}.
So the {x} stayed {s} {p.at}, and there it may lie to this day. {a} had learned that {lesson}.
{a} had to do without the {x}, which was {s} {p.at}. "Tomorrow I will try again," {say} {a}.
""", needs="x lies p s")
