"""Ordinary English words: written in lower case they are rarely anybody's name.

Counted as the share of texts that contain a word in the definitions and examples of Open English WordNet (https://en-word.net) and in
30,000 abstracts of arXiv (a tenth of the weight), without words that are mostly capitalised; a few words of computing added at the end.
"""

from __future__ import annotations

# Grammar: even several of them in a row are not a name.
_GRAMMAR = """
a about above after again against all also am an and any are as at be because been before being below between both but by can could did
do does doing down during each either else every few for from further had has have having he her here hers him his how i if in into is
it its itself just let may me might more most much must my neither no nor not of off on once one only or other our ours out over own per
same shall she should since so some such than that the their them then there these they this those through to too two under until up
upon us very via was we were what when where whether which while who whom whose why will with within without would yes yet you your
"""

_WORDS = """
a of the in to or and that with an for is by on as from are we this be which used it can not at one having who paper two has any was he
into our time based have its such their between small show large using when results more data model his new these other being also than
especially all but some system use they where relating over state problem been usually number work i something person different first
study only both well high made through each approach proposed manner order present set method up many form information make without out
she several propose performance most algorithm under analysis someone act given network if flowers long her process people no models
often while provide various so about very part systems like there were methods how particular body then quality language white known
case same real function structure will networks after water non may three consisting point general another way common algorithms low
leaves power space important learning single framework problems tree control them group found world result during you size applications
novel level plant linear unit consider light design had within certain properties do existing give demonstrate distribution even simple
whose due related terms short good class place efficient end human cause possible including theory solution open surface research
characterized called your rate genus behavior provides together similar specific second art optimal property position find area making
multiple social against available value experiments natural random techniques complex computer characteristic hard obtained red off
conditions line scale yellow machine life free lower around introduce applied become source better does containing those allows
application much further standard developed before either resulting type studies main current compared recent knowledge deep law degree
resembling strong take support parameters considered features approaches shaped complexity member family game graph among down back food
central functions great field action blood interest man neural thus task best less energy etc change widely shown equal development able
means simulation local designed computational money could plants prove capable develop effect multi condition my what every head because
physical old range accuracy distributed associated right side along test black key term uses error cost disease hand sound public air
experimental communication previous numerical series probability us need measure improve highly years significant must amount times full
fixed technique device presented via user example across dimensional variety parts force words individual four dynamics obtain makes
native higher living statistical cases input him finite achieve processes perform recently respect name trade training activity
optimization potential estimation word should building derived complete users still self rather move material independent fruit ground
nature computing future wide values context investigate caused trees basic sets play increase distance address addition points
processing defined cannot since noise woman government parameter others introduced bound period provided effects color theoretical
dynamic base environment day shape produced describe science service effective cells subject would own length cell wood literature
solutions simulations liquid efficiency image special scheme skin showing required tool fast lacking object green significantly children
changes things loss spoken matrix memory maximum practical purpose above face observed software signal upper sometimes representation
close eastern implementation types apply get tropical whether average constant attention focus reduce little stochastic th substance
shows tasks limited few involving young cut ability major program studied music setting male evaluate discuss classical animal branch
practice direction near identify expected examples search flow analyze least difficult mechanism popular question sequence following put
left military evaluation fish agent metal dark motion business account goal approximation step understanding architecture detection kind
mean works domain nodes security role corresponding growing acid structures brown shrub computation lack according normal presence
produce speech graphs country marked suitable access edge southern performed animals sample parallel variables compare languages useful
requires therefore robust written presents decision derive response away region providing procedure traditional modeling help areas
datasets last top formed growth northern classification forms polynomial strategy market code original continuous allow lead too car
underlying events whole estimate party patterns relative determine soft female sense western heavy early speed generated components
bounds population political edible distributions cultivated objects piece basis factor total dataset house regions combination
instrument target log tools easily toward event critical solve child perennial text blue frequency view expression directly connected
characteristics increasing thin land run influence earth empirical room call moving now trained next require impact movement direct
relation fact global constraints go path tissue established true positive ball evidence larger drug product hair selection prior fully
chemical feature article pattern hold stage worn typically additional resources convergence groups necessary taken elements always ship
variable upon cover inference far contains programming pressure relatively just fine existence me yet price services temporal mass per
layer output importance active intended operation leads ratio version fundamental turn done implemented instead plane treatment element
closed taking extend accurate concept rules community oil purple formal challenging effectiveness towards component phase heart modern
capacity followed prediction risk images idea comparison include weight mathematical year online finding regression measures specified
reduction takes attack alternative style interaction rank covered spatial policy improved density proof running feeling flat efficiently
issue come issues management built compute below generation operations objective mind achieved heat bearing past illustrate dependent
evolution numerous challenges joint ancient rates driven church technology reduced cross book gives previously discrete enables
appropriate organization unknown logic clusters extended generate sum strategies factors regular learn classes species relevant school
course company construction vector interactions occurs location construct situation lines matter horse herb smooth approximate smaller
brain gas held almost signals colored initial understand center forward war beyond functional treat essential devices collection solving
asymptotic content minimum vehicle compound needed sharp remove narrow occurring causing home age numbers biological stock ideas
arbitrary negative advantage experience challenge financial quantity fire extensive aim testing indicate rich establish religious square
levels generally until channel visual exact fields traffic created al limit implement requirements represent ii consists tail clear
stable adaptive structural pink described spread economic sampling front medium played involved et powerful define grown carried
equivalent node character conventional completely equations edges relationship production placed statistics explore sufficient death
consistent personal report needs again transmission scenarios hence generalized enough mobile holds methodology broad thought third
covering effort agents chain eye table legal middle overall web contrast automatically women mechanisms bounded charge determined
success leading zero convex physics members choice writing students temperature aspects causes wind improvement medical official
extension five strength commonly principles handle sparse gave evergreen pertaining external capture forming outperforms particularly
city pair plays employed letter separate outside partial detect grey stability block formerly measured formation musical notion
simultaneously likelihood team build discussed suggest eyes office wall schemes artificial individuals sexual century produces achieves
internal job producing court let wireless care exponential flexible increases seeds assumptions electric observations see appearance
train distinct extremely depends sea meaning applying recognition mental binary mixed easy rule estimates errors difference extreme
interesting yields becomes differential meat orange working mixture equation might principle fabric explicit health composed entire men
gain questions scientific transfer persons predict remains programs automatic feet goods evaluated includes create failure exchange
samples faster dry relations medicine half keep concerned activities final allowing radio controlled nonlinear project inhabitant volume
greater synthetic annual namely authority respectively big storage responsible uniform look measurement correlation measurements seen
tests steps player resource pain demonstrated represented combining improves games estimator foot itself fit playing carry considering
sensitive thick protein simulated weak equilibrium birds holding hot platform exists night demand longer former forces exist findings
voice muscle map giving assumption received pairs typical proposes prevent reference bring combined serving document core measuring
inside took solid matching actions instance expressed round probabilistic tall players dimension cold equipment bone increased coat wine
sun sources unique protocol reaction showed desired return extent pass attacks closely attached varying environments operating slow
engine characterize metric ones correct conducted rapid motivated clustering scales deterministic note agreement answer performs
weighted rock differences flower added deal live hardware start post iron leaf sequences occur dense slender root mechanical involves
society execution units glass wild behind did prices identification electrical located theorem bird benefits promising don stems once
soil ways constructed semantic never minimal estimated avoid effectively technical news enable computed proved belonging shared settings
collected likely aims mainly severe supply index transition directed conduct link legs changing experiment false history sugar sweet
road list description robustness mouth strongly fluid developing hands drawn quickly score digital crucial filled products motor organ
laws describes sides commercial disorder secure domains electronic researchers detailed magnetic warm hybrid quantitative contribution
particles salt review vision yield rapidly representations identified database vertices successful bright express southeastern double
intelligence thing division straight share delay engineering branches investigated analyzed estimating countries plan layers
inflammation variance subset days superior cycle tight variation tested serve sensor load vessel appear culture requiring concepts board
already absence cluster assume latter usage dependence connection constraint genetic offer private served consumption said industry
similarity message organisms infection matrices sudden analytical learned ice divided cloud milk realistic fall query bad reducing
humans excessive reason heads reach examine generating arms utility follow flesh fragrant pay bit restricted consistency contact
interpretation computationally chiefly record resolution representing costs though break composition belief earlier induced feedback
extract muscles read proper passage becoming dress technologies uncertainty affected advantages biology six degrees origin selected mark
abnormal mother magnitude pale estimators opposite contain heterogeneous opening performing naturally identifying hypothesis aircraft
inspired coast vehicles primary abstract cutting reduces decomposition solved box dance geometry raised film benchmark integrated
geometric neck consequence aromatic weather directions got improving observe hit onto noisy supporting introduces monetary coming
successfully analyzing travel date sub competition sizes supported balance quantum throughout patient observation circuit supports going
currently roots outcome marine modified know agency systematic enemy pre threshold perspective walk constrained seed situations
phenomenon bed advanced outer rely confidence river generalization rise resembles affect depth media exhibit depending gap later coarse
dimensions topic mostly nearly serves infinite weights gene static progress evolutionary items door clothing purposes integration limits
store planning meet cellular vertex cloth window student argument overcome display race spectrum frequently stop lost convolutional
hidden increasingly paid boundary guarantee hierarchical poor department privacy kept radiation teeth beginning benefit co wave
sequential relationships fruits extending scenario dealing starting assumed truth gradient detail nerve southwestern aware yielding
practices architectures interval spectral metrics highest primarily dead doctrine procedures acts drive serious precision attempt runs
quite frame transmitted topology analyses curve formulation ornamental passing pieces conditional status waters largest sentence integer
fungus brought angle discussion published details semantics protect robot maintain sharing diffusion organic determining explain birth
union combine diverse bottom semi competitive principal drugs showy actual chosen protocols fishes sensitivity late offers plate
accurately reddish erect hours reasoning guarantees police stationary tube minor dog posterior reveal approximately international
slightly meeting felt extracted candidate exploit spaces predictions association paths variant mineral went drawing insights sized
deciduous limitations follows materials generic organism town industrial formula draw check diseases re latent turned sounds exactly
safety allowed survey embedded expensive baseball throughput stone colors difficulty predictive intensity grass decisions accepted match
links behaviour foliage today gold organized definition bacteria treated advance steel bank contract achieving indicating comprehensive
national statement bark ensure section video opinion ends modelling mapping instances release originally minimize partially comparing
protection channels validate officer autonomous phenomena stem improvements queries bias parametric usual vertical grid emerging stream
inverse insects operator fresh wife feed cap anything lives combines love compact potentially remain reliable represents ring leave
orders valued policies tending paradigm feelings background logical write fail intermediate relies informal dynamical depend reported
automated star visible extends names assess raw letters interface arm argue molecular characterization carbon grow stored universal
doing fear naturalized suggests documents vectors drink emotional efforts workers spreading arrangement transport attractive machines
proteins secret particle inner intervals loop ten cancer figure precise expressing embedding driving try optical books prepared breed
recurrent arranged combinatorial valuable explicitly kernel bar pointed possibly clothes sports trivial cognitive select scaling month
surgical membrane dried named rare comparable card filter believe expressions coefficients loose taste shell multivariate facts add
capabilities flight inputs designing cream worker wings boat mathematics crystalline translation regard algorithmic believed theories
amounts applicable perfect track title fitting bodies modeled baseline adding separation connections exercise intense repeated walls
hole structured foreign carefully considers organs ordinary army turns advances floor payment father came describing possibility
introducing transformation horizontal band mining university adapted smart locations regarded story hope quantify deals transform
whereas surrounding algebraic parents led million consideration counting receive street removal container fashion alphabet positions
regarding else variations nuclear vein trait messages records implications illustrated iterative lot reality horses adopted allocation
oriented equipped asymptotically forest variants contained molecules freedom emotion virtual rope included alcohol sex assigned
substances impossible opposed carrying bread configuration precisely verification loud projection theoretic removed interference descent
understood capability concern nervous moment investigation alpha football maps facilitate themselves picture fat marriage tried
propagation scalable randomized enhance arising designs tracking waves overhead fibers proposal rest axis alone quick rays racemes sold
adjacent suffering environmental ad bill movements extraction cooking speaking teacher connectivity concerning decrease operators veins
religion somewhat communications spirit ill television painting movie fern sign monitoring infrastructure firm circular damage valid
creating moved feel cooked synthesis education exposure assuming interests moves supervised indeed cavity defense clean bridge domestic
injury massive academic appears worst primitive occurrence ranking norm verify gun scheduling entropy detecting patients acting rain
pure eating atoms clearly coverage sensors correlated brief yourself probabilities discovery want garment employ fraction rights
quadratic concrete addresses temporary poisonous desire reliability covers contributions formulate necessarily mammals computers silver
cord papers library artery wheel leather stress considerable flows mountain reading oxygen speaker implementations coding egg judgment
operate economy scene tissues outperform symmetric missing site generates families criteria exploiting optimized printed broken worked
maintaining concentration quantities rough feasible dual historical satisfy behaviors resistance distinguished delivery adaptation
grained curved standing trust daily mild chemistry aspect introduction bandwidth platforms strike preserving nations thereby focuses
insight conclude recorded professional blocks category income empirically danger steady reconstruction representative experimentally
shot unified optimize nose sleep fill characters surfaces electricity arise huge locally preliminary ready significance terminal
interested choose comes focused versions articles controller apart file bits tax skill simply offensive carries places kinds maximize
coefficient emph covariance camera mode substantial communities controls station spring separated instruments stand labor raise civil
plastic except coastal sensing indicates addressed bones leg seems identity berries desirable communicate incorporate mountains
specification demonstrates coupled net affecting capital inter robots stalk populations adapt cast rounded roof stages diversity
additive largely spikes insect election sauce larvae independently controlling phrase computations exploration sale inherent implies
cotton availability colorless duty supplies constructing jointly ear greatly federal looking paint mutual filtering parties wrong
squares aid suggested sent topological institution mathbb extra retrieval approximations helps duration subjects predicting heuristic
stomach claim moral seven qualities garden grows guide connecting standards fly audience charged suddenly husband reasons talk string
cattle flexibility juice epsilon telephone please violent update identical furniture nor validation item codes formulated proportional
authors assembly pleasure calculated clinical correlations protective readily slowly generalize tone grain column atomic fuel majority
molecule compressed stiff partition periodic cars freely crime linguistic eggs opponent develops snow neurons armed reinforcement
widespread crowd immediately normally conclusion atmosphere reasonable college corpus transportation plural enabling invariant distances
neither surgery fever nonparametric looked rose manual companies studying package secondary imaging velocity circle adversarial pitch
formally entity hairy de won remaining scalability friends genes troops yellowish recognized wire touch deployment tend consequences
skilled removing routing linked metallic outcomes sufficiently guaranteed assignment otherwise tendency portion aquatic bell virus enter
distinguish assessment blow excess em obtaining affects cheese array beat goes recovery minimizing complicated expansion expert
compounds gains remote acquired incorporating club virtue perception voltage powers split say moderate lying vessels fluctuations
reveals circumstances hour markets crown scope leverage encoding angles cards disk sheep sqrt safe wooden lived author count
participants unable involve iii shrubs minute dynamically keeping adult seat graphical transparent credit ideal catch recording integral
absolute latency convert extensions engaged receiver collect customers projects physically heavily golf boy eaten speak suit randomly
nothing creation meal deployed evaluating wet predicted suited changed trial requirement ordered concerns explanation relevance fault
criterion enclosed examination summer actually applies demands opposition fair unpleasant strip dull decide entities king applicability
recover saw tackle why born shallow sport careful responses fiber discover server hierarchy discovered philosophy tumor arises nation
faces shift views resident viewed numerically passed baby publication empty curves categories clock deeply eight topics temperate
promote specialized regime handling hollow coupling binding acoustic calculus confirm distinctive performances symbol mail coordinate
worth sparsity ever essentially calculate strings attributes buildings refer simultaneous apparent automata sky independence resemble
bodily rocks drop tongue accounts sites homogeneous literary asked strictly coffee insurance stronger preparation verb send trajectory
publicly returns wise profit printing variability battle highlight horizon prominent blade minimization tinged implementing
theoretically cup criminal transmit trajectories tract leader broadcast explosive girl wealth causal join frac liver lose week reports
preserve suggesting mixing son proving sand offered backward copy intrinsic penalty reactions goals bag tractable maximal powder tends
forth suffer notes gland classic interior resistant urban passes rigid judge punishment heard checking oneself algebra attempts
mythology timber combinations master symptoms scores utilize teaching conjecture classifier marginal extinct fingers qualitative
prototype flavored verified discharge hat beam devoted audio buy malicious became properly request dominant soldiers assets immediate
persistent operational vegetables cylindrical simpler delta analytically disposition violet interactive profile amino pull affairs
databases whereby runtime walking perceived shapes meaningful vote employing exhibits press unsupervised smallest opinions spot lens
abnormally choices cooperative relaxation answers excellent attribute feasibility collectively acute height herbs dangerous captures
conversation think sell orientation validated reached lies packet trouble tuning song caught ranging accompanied inferior chains
psychological beta proofs analytic focusing fold compression illness substantially winter pipe explored incomplete periods hydrogen
plans classify referred revealed storing intelligent accept imposed host irregular spiny exponentially woody pricing lowest
configurations claims adopt satisfaction subsequent infer exploits tiny equivalence contribute beautiful chance orthogonal classified
floating calculation greenish fleshy intersection ears vine benchmarks freshwater aggregate season criticism customer briefly evil
formulas frequencies issued successive opportunities weed shoes segments ask intensive spoke getting sciences somebody shrubby funds
labeled validity overview released satisfying nearest screen favor airplane prescribed toxic expectation selling enhanced doctor
electromagnetic limiting started radioactive converted situated nuts greedy cultural page learns lie proven alternating collective fight
dogs pods iteration rigorous width gradually attitude grammatical beliefs trace streams decay vary circuits frequent ensemble awareness
breathing hundred responsibility replaced really jump possession incapable surprisingly interact smoke famous popularity separately
turning stimulus upward margin lightweight regulation receives captured rubber objectives pool row determines operated correctness throw
ships operates urine thousands detected intellectual executed elementary newly fungi mature opposing calcium bitter cycles elastic
newspaper chest planar waste peace diameter theater mobility uniformly tension generative symbolic wheels treating offering analyse
himself clouds summary genome tip distant friendly localization undergo exposed nucleus destroy aggregation logarithmic cake conflict
counter labels selecting cortex neighbors rational adequate investment arguments keeps holes ocean contexts emergence decade branching
fell notions derivative correction permanent breast shoulder barrier diagnosis baked pigment deviation examined trading contrary
continue leveraging integrate sells oral healthy immune thread windows matters tea older illegal calls optimality fusion correctly
psychology ll calendar functioning segmentation utilized reverse singing satisfies limbs breaking investigates bond duties chair
difficulties bear alcoholic coal extensively accounting interacting simulate spinal label emerged volatility beings morning worldwide
didn utilizing exhibiting fur divide sight wear trends terrestrial implicit universe lay converge outputs mathcal updates evaluations
valley anti dedicated ease odor differ hospital completion trend sheet leaving restaurant gained transactions inability consensus
transitions maximization mechanics coin favorable developments kill command alternatives passengers decreasing corresponds inhabitants
sensory embeddings recursive finish ray restrictions uncertain continuously rectangular expressive anger atom print tough demonstrating
gamma outline canonical stick enterprise destruction ahead married utter dinner strict searching lake influenced chicken promise faced
sentences moon fatty soup clay triangular bases shortest threat stay frameworks glossy butter mounted fourth route determination
comparative hoc switch offspring excessively finds opportunity facing discipline consuming hypotheses escape entirely max preserved
foundation chief corn sophisticated faith weapon coherent purplish dependencies defining skills balanced bottle wanted vast alignment
budget generator rotation unusual sensation golden soon begin founded depression developers quasi climbing comparisons pose arbitrarily
owner polynomials traditionally neighborhood emphasis maximizing traveling bus instruction smile constituting beef landscape preferences
thinking deliver boundaries organizations switching explained northeastern lungs processed contents geq constituent tailed candidates
driver physiological rod systematically recommendation months hardness win foods teams committee infectious dancing wool easier
complement everything putting dimensionality poorly fitted enzyme intuitive decades celestial winning bomb disorders personality roll
watch apparatus uterus instructions feeding rotating navigation simplified cooperation decreases prevents weapons module ride actor
pictures thoughts modification engage extracting emergency snake refinement emotions economics revolution noted targets avoiding
proportion dish transformations island manage silvery scarlet downward falling temporarily genetics connect palm houses drinking
isolated builds singular estate islands straightforward beneficial arithmetic regardless inequality governing upright debt solitary
parasitic elongated shares flour brownish generalizes functionality gathering honor shoe knife options reproduce stars tries enabled
spent shock medieval warning complementary radical solar dependency occupation acceptance pairwise cat converges suspended stories
fractional pine files remarkable mentioned moments seem manually ran reflect centralized matches farm aimed appointed utilization parent
centers accident delivered battery efficacy stated presentation outward corporation reproduction shed regularly custom guard coated
pounds seek flying artist pages victim fails dialect symbols repair lattice worship arrival joints chronic painful acids acceptable
violence delicate modular unstable mesh adoption preference abundant engines parameterized photographic sphere characterizing null wound
client arch quiet creates acquisition trip relying territory swimming centuries feeds flavor district assistance metabolism beneath eat
burning institutions priori conservative regularization ordinal losses mutation spots monitor robotic heated muscular nerves destination
preceding neutral trying lengths modules setup reward mammal specifications failures realized remark indicator leq toes statistically
behave texts copper trunk spatially apple powered texture silk campaign recognize motivation neighbor tennis overlapping experienced
abstraction guided joined anxiety streets experts ell susceptible shade maintenance modes conclusions interpreted greyish segment
vulnerable council conversion option mine answering dust dye assign weakly hearing desert classifiers personnel writer congestion cities
risks variational eventually transformed laboratory streaming phases fewer shorter competing establishing correspond friend bow
transaction passive conceptual capturing beer slight storm bluish dressed constitute staff coordination peak receiving harsh
collaborative heterogeneity refined computes familiar diet ownership canal rear utilizes tie notation moth discusses corner respiratory
climate subsequently beauty covariates inserted employment whom projecting remained orchid bony forced am oracle stimuli die
manipulation slope specify verse pulled folding protected presenting interfaces definite blind satisfied biased northwestern
incorporated heating admit sail flowering crossing pole indicated astronomy predicts consistently tooth gate incorporates senses
feathers brightly evolving usefulness interpret purely relational equally pilot secretary signature kitchen optimizing bringing
accessible hormone adversary grains suggestive reputation kernels portable era decentralized combat expectations jacket decoding infty
currency cuts steam finger artistic asset repeatedly arteries min hanging peer welfare residual statistic push adjusted administrative
plates grammar profiles shop fitness electrons syllables dramatic decided recall advocate deliberately moist scientists relaxed
imaginary lips preserves modify spike tightly beans infections superiority unexpected geographical synchronization glands bought assist
evolve conforming employs cylinder latest opens establishment maintained banks exponent wing spanning intent kidney behavioral creamy
divine stout consciousness confined mitigate microscopic visualization specialist bodied maintains minutes approximated broke belongs
fragments cite deficiency initially soap advertising elaborate assessed stones drift meta replace finance flattened spiritual
merchandise varieties pregnancy impression reaching com optimum employees crisis abdominal compatible integrating inequalities anterior
excitement planned bipartite wearing smelling woven lift strain cone commodity partitioning evening lambda heuristics waiting
approximating bat couple textual appearing shelf arts told bent modal ordering taxes plain convenient fan roads manufacturing
conjunction chamber nasal densities obvious humor perturbation met bacterial obligation jobs housing inclined grade entry subgraph
handled st coordinates decorative thrown tobacco assumes analogous contraction calculations roles encode hostile philosophical induce
royal counts syntax approval wheat anew agree harm nine plus defect syntactic restriction linearly winds plot balls pseudo hairs timing
choosing defeat orbit multiplication stroke signs gravity angular evolved occasion portfolio mud stood fronds decoration resin visit
concave roughly zone legally advice resolve pipeline abs avg password archive restore timeout port commit schema folder click login
email website download upload install
"""

FUNCTION_WORDS = frozenset(_GRAMMAR.split())
WORDS = frozenset(_WORDS.split()) | FUNCTION_WORDS
